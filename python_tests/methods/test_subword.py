"""Sub-word rows against pieces written by hand, and against the source's own encoding of real vocabularies."""

from __future__ import annotations

import numpy as np
import pytest
from transformers import AutoTokenizer

from salt_ext.errors import InputError
from salt_ext.methods.subword import Subword

from .conftest import close, of_tokenizers

WEIGHTS = {
    "mean": lambda n: np.full(n, 1 / n),
    "last": lambda n: np.eye(n)[-1],
    "decayed": lambda n: 0.5 ** np.arange(n) / (0.5 ** np.arange(n)).sum(),
}


@pytest.mark.parametrize(
    ("options", "head"),
    [
        ({}, "mean"),
        ({"input": "last"}, "mean"),
        ({"head": "decayed"}, "decayed"),
        ({"input": "last", "head": "decayed"}, "decayed"),
    ],
)
def test_pieces_by_hand(pair, options, head):
    material, cuts, ids, table = pair
    combined = Subword(**options).combine(material)
    assert sorted(material.target.tokens[n] for n in combined.target_ids) == sorted(cuts)
    ends = combined.lengths.cumsum()
    for values, weights in (
        (combined.values, WEIGHTS[options.get("input", "mean")]),
        (combined.values if combined.head_values is None else combined.head_values, WEIGHTS[head]),
    ):
        for target_id, end, length in zip(combined.target_ids, ends, combined.lengths, strict=True):
            pieces = [ids[piece] for piece in cuts[material.target.tokens[target_id]]]
            found = values[end - length : end] @ table[combined.source_ids[end - length : end]]
            close(found[None], (weights(len(pieces)) @ table[pieces])[None], 1e-6)


def test_a_plain_plan_has_one_set_of_weights(pair):
    assert Subword().combine(pair[0]).head_values is None


@pytest.mark.parametrize("name", ["gpt2", "gemma2"])
def test_real_tokenizers_cut_as_they_encode(real_data, name):
    """A word in a running text: the pieces are those of the source's own encoding of a sentence that holds it."""
    source = AutoTokenizer.from_pretrained(real_data / "tokenizers" / name)
    target = AutoTokenizer.from_pretrained(real_data / "models" / "de-gpt")
    material = of_tokenizers(source, target)
    combined = Subword().combine(material)
    starts = combined.lengths.cumsum() - combined.lengths
    tested = 0
    for target_id, start, length in zip(combined.target_ids, starts, combined.lengths, strict=True):
        form = material.target.forms[target_id]
        if not (form.begins_word and form.data.isalpha()):
            continue
        before = source("x", add_special_tokens=False)["input_ids"]
        whole = source(f"x {form.text}", add_special_tokens=False)["input_ids"]
        assert combined.source_ids[start : start + length].tolist() == whole[len(before) :]
        assert np.allclose(combined.values[start : start + length], 1 / length)
        tested += 1
    assert tested > 1000


def test_bad_input(pair, world):
    with pytest.raises(InputError, match="input is 'first', expected mean or last"):
        Subword(input="first")
    with pytest.raises(InputError, match="head is 'last', expected mean or decayed"):
        Subword(head="last")
    with pytest.raises(InputError, match="pass source_tokenizer"):
        Subword().combine(world(3, 2).material())
