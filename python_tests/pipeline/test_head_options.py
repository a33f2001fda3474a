"""Options for heads reach the checkpoint of a model whose head is untied and has a bias, and nothing else in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

import salt_ext
from salt_ext.plan import Provenance

from .conftest import ONLY_TARGET, SHARED, text_of


@pytest.fixture
def biased_source(tmp_path: Path, source_tokenizer) -> Path:
    torch.manual_seed(1)
    config = transformers.PhiConfig(
        vocab_size=len(source_tokenizer),
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        bos_token_id=source_tokenizer.bos_token_id,
        eos_token_id=source_tokenizer.eos_token_id,
    )
    model = transformers.PhiForCausalLM(config)
    with torch.no_grad():
        model.lm_head.bias.normal_()
    model.save_pretrained(tmp_path / "phi")
    source_tokenizer.save_pretrained(tmp_path / "phi")
    return tmp_path / "phi"


def test_head_options_change_the_head_alone(biased_source, donor, target_tokenizer, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(text_of(SHARED + ONLY_TARGET, 3)), encoding="utf-8")
    given = {"head_scale": 0.5, "head_bias": "frequency", "text_sample": str(text)}
    plain = salt_ext.transfer(biased_source, donor, tmp_path / "plain", method="salt")
    result = salt_ext.transfer(biased_source, donor, tmp_path / "out", method="salt", method_options=given)
    before, after = (load_file(found.output / "model.safetensors") for found in (plain, result))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"lm_head.weight", "lm_head.bias"}

    made = (result.plan.provenance == Provenance.REGRESSED).numpy()
    copied = (result.plan.provenance == Provenance.COPIED).numpy()
    torch.testing.assert_close(after["lm_head.weight"][made], 0.5 * before["lm_head.weight"][made])
    for name in changed:
        assert torch.equal(after[name][~made], before[name][~made])
    ids = [n for line in text.read_text("utf-8").splitlines() for n in target_tokenizer(line)["input_ids"]]
    x, y = np.log1p(np.bincount(ids, minlength=len(made))[: len(made)]), before["lm_head.bias"].double().numpy()
    seen = copied & (x > 0)
    line = np.polyval(np.polyfit(x[seen], y[seen], 1), x).clip(y[seen].min(), y[seen].max())
    np.testing.assert_allclose(after["lm_head.bias"].numpy()[made], line[made], rtol=1e-5, atol=1e-6)
    assert {name: result.report["options"][name] for name in ("head_scale", "head_bias")} == {
        "head_scale": 0.5,
        "head_bias": "frequency",
    }
