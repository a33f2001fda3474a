"""Whole transfers by methods that need neither donor rows nor vectors, with tied tables and with a head of its own."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.torch import load_file

import salt_ext
from salt_ext.plan import Provenance

from .conftest import ONLY_TARGET, SHARED, text_of

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "text.txt"
    file.write_text("\n".join(text_of(SHARED + ONLY_TARGET, 61, 4000)) + "\n", encoding="utf-8")
    return file


def tables(folder, name):
    tensors = {}
    for file in folder.glob("*.safetensors"):
        if file.name != "salt_plan.safetensors":
            tensors |= load_file(file)
    return tensors[name].double().numpy()


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_pieces_in_and_out(kind, source, untied_source, target_tokenizer, source_tokenizer, tmp_path):
    """transplant-vocab: of an untied source the last piece in; in the head, and in a tied table, halves of halves."""
    old = source if kind == "tied" else untied_source
    target_tokenizer.save_pretrained(tmp_path / "alone")
    made = salt_ext.transfer(old, tmp_path / "alone", tmp_path / "out", method="transplant-vocab", device="cpu")
    names = {"tied": ["model.embed_tokens.weight"], "untied": ["model.embed_tokens.weight", "lm_head.weight"]}[kind]
    for number in made.plan.rows(Provenance.REGRESSED).tolist()[:40]:
        written = target_tokenizer.convert_ids_to_tokens(number)
        pieces = source_tokenizer.backend_tokenizer.model.tokenize(written)
        ids = [piece.id for piece in pieces]
        weights = np.power(0.5, np.arange(len(ids)))
        for name in names:
            before, after = tables(old, name), tables(made.output, name)
            decayed = weights @ before[ids] / weights.sum()
            expected = before[ids[-1]] if kind == "untied" and name == names[0] else decayed
            np.testing.assert_allclose(after[number], expected, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_neighbours_of_no_weight_need_no_vectors(kind, source, untied_source, target_tokenizer, word_vectors, tmp_path):
    old = source if kind == "tied" else untied_source
    target_tokenizer.save_pretrained(tmp_path / "alone")
    options = {"vectors": f"vectors:{word_vectors[0]}"}
    made = salt_ext.transfer(
        old, tmp_path / "alone", tmp_path / "out", method="token-adapt", method_options=options, device="cpu"
    )
    assert made.report["rows"]["regressed"] > 50
    sums = np.add.reduceat(made.plan.values.numpy(), made.plan.crow_indices[:-1][made.plan.crow_indices.diff() > 0])
    np.testing.assert_allclose(sums, 1, rtol=1e-5)


def test_rows_of_companions(untied_source, target_tokenizer, text, tmp_path):
    """tokalign: every new row is one source row, the same one in both tables."""
    target_tokenizer.save_pretrained(tmp_path / "alone")
    options = {"text": text, "dimensions": 16, "iterations": 5, "minimum_length": 5}
    made = salt_ext.transfer(
        untied_source, tmp_path / "alone", tmp_path / "out", method="tokalign", method_options=options, device="cpu"
    )
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        before, after = tables(untied_source, name), tables(made.output, name)
        for number in made.plan.rows(Provenance.REGRESSED).tolist():
            ((partner, weight),) = made.plan.explain(number)
            assert weight == 1
            assert (after[number] == before[partner]).all()
    assert made.report["method"]["facts"]["pivots"] > 10
