"""--method plan: an earlier transfer's plan, on the same source and on a sibling of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
import transformers

import salt_ext
from salt_ext.errors import InputError
from salt_ext.plan import TransferPlan

from .conftest import ONLY_TARGET, SHARED, text_of

pytestmark = pytest.mark.usefixtures("one_thread")
TABLE = "model.embed_tokens.weight"
# Sparse weights; a low-rank part; weights of a head's own; means; each way to draw.
METHODS = ["salt", "salt-plus", "global", "subword:input=first", "mean", "gaussian", "random", "omp"]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


def options_of(method: str) -> dict[str, object]:
    name, _, given = method.partition(":")
    return {"method": name, "method_options": dict(pair.split("=") for pair in given.split(";") if pair)}


@pytest.fixture(scope="module")
def sibling(source, tmp_path_factory) -> Path:
    """The source after a training of its own."""
    folder = tmp_path_factory.mktemp("sibling") / "model"
    model = transformers.AutoModelForCausalLM.from_pretrained(source)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter += 0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_makes_the_same_model_again(method, source, donor, sibling, tmp_path):
    first = salt_ext.transfer(source, donor, tmp_path / "first", **options_of(method), seed=4)
    file = {"file": tmp_path / "first" / "salt_plan.safetensors"}
    again = salt_ext.transfer(source, donor, tmp_path / "again", method="plan", method_options=file, seed=4)
    assert weights(again.output).keys() == weights(first.output).keys()
    for name, tensor in weights(first.output).items():
        assert torch.equal(weights(again.output)[name], tensor), name
    other = salt_ext.transfer(sibling, donor, tmp_path / "other", method="plan", method_options=file, seed=4)
    assert torch.equal(weights(other.output)[TABLE], first.plan.apply(weights(sibling)[TABLE]))
    assert not other.report["warnings"] or not any("pass --seed" in each for each in other.report["warnings"])


def test_takes_over_what_distillation_taught(source, donor, sibling, tmp_path):
    text = tmp_path / "text"
    text.write_text("\n".join(text_of(SHARED + ONLY_TARGET, 31, 1500)))
    salt_ext.transfer(source, donor, tmp_path / "first", method="salt-plus")
    small = {"tokens": 600, "tokens_per_step": 300, "context": 64, "device": "cpu"}
    taught = salt_ext.distill(tmp_path / "first", tmp_path / "taught", teacher=source, text=[text], **small)
    file = {"file": taught.output / "salt_plan.safetensors"}
    other = salt_ext.transfer(sibling, donor, tmp_path / "other", method="plan", method_options=file)
    without = TransferPlan.load(tmp_path / "first" / "salt_plan.safetensors").apply(weights(sibling)[TABLE])
    difference = weights(other.output)[TABLE] - without
    torch.testing.assert_close(difference[taught.plan.dense.rows], taught.plan.dense.input, rtol=1e-4, atol=1e-5)
    assert len(difference.any(dim=1).nonzero()) == len(taught.plan.dense.rows)


def test_drawn_rows_need_the_plans_seed(source, donor, tmp_path):
    salt_ext.transfer(source, donor, tmp_path / "first", method="gaussian", seed=4)
    file = {"file": tmp_path / "first" / "salt_plan.safetensors"}
    again = salt_ext.transfer(source, donor, tmp_path / "again", method="plan", method_options=file, seed=5)
    assert any("whose seed was 4: pass --seed" in each for each in again.report["warnings"])


def test_other_tokenizers_are_refused(source, donor, encoder_donor, tmp_path):
    salt_ext.transfer(source, donor, tmp_path / "first", method="mean")
    file = {"file": tmp_path / "first" / "salt_plan.safetensors"}
    with pytest.raises(InputError, match=r"is a plan for another new tokenizer than "):
        salt_ext.transfer(source, encoder_donor, tmp_path / "again", method="plan", method_options=file)
    with pytest.raises(InputError, match=r"is a plan for another source tokenizer than "):
        salt_ext.transfer(donor, source, tmp_path / "again", method="plan", method_options=file)
    with pytest.raises(InputError, match=r"pass --set file=OUT/salt_plan\.safetensors"):
        salt_ext.transfer(source, donor, tmp_path / "again", method="plan")
    assert not (tmp_path / "again").exists()
