"""Sub-word rows against pieces written by hand, and against the source's own encoding of real vocabularies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from factories import make_vocabulary
from transformers import AutoTokenizer

from salt_ext.errors import InputError
from salt_ext.methods.core.piece_weights import characters_of, piece_weights
from salt_ext.methods.subword import Subword
from salt_ext.vocab import Form

from .conftest import close, of_tokenizers

WEIGHTS = {
    "mean": lambda sizes, decay: np.full(len(sizes), 1 / len(sizes)),
    "first": lambda sizes, decay: np.eye(len(sizes))[0],
    "last": lambda sizes, decay: np.eye(len(sizes))[-1],
    "decayed": lambda sizes, decay: np.array([decay**n for n in range(len(sizes))]),
    "rising": lambda sizes, decay: np.array([decay**n for n in range(len(sizes))])[::-1],
    "length": lambda sizes, decay: np.array(sizes),
}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"input": "last"},
        {"head": "decayed"},
        {"input": "last", "head": "decayed"},
        {"input": "first", "head": "length"},
        {"input": "length", "head": "rising", "decay": 0.2},
        {"input": "rising", "head": "decayed", "decay": 0.9},
    ],
    ids=str,
)
def test_pieces_by_hand(pair, options):
    material, cuts, ids, table = pair
    combined = Subword(**options).combine(material)
    assert sorted(material.target.tokens[n] for n in combined.target_ids) == sorted(cuts)
    ends = combined.lengths.cumsum()
    for values, kind in (
        (combined.values, options.get("input", "mean")),
        (combined.values if combined.head_values is None else combined.head_values, options.get("head", "mean")),
    ):
        for target_id, end, length in zip(combined.target_ids, ends, combined.lengths, strict=True):
            cut = cuts[material.target.tokens[target_id]]
            weights = WEIGHTS[kind]([len(piece) for piece in cut], options.get("decay", 0.5))
            found = values[end - length : end] @ table[combined.source_ids[end - length : end]]
            expected = weights / weights.sum() @ table[[ids[piece] for piece in cut]]
            close(found[None], expected[None], 1e-6)


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("decay", [0.0, 0.3, 0.5, 1.0])
def test_weights_of_pieces(kind, decay):
    """Tokens without a piece, with one and with 2,000 among them; what a factor of 0 and 1 mean."""
    generator = np.random.default_rng(1)
    lengths = np.array([0, 1, 3, 0, 2000, 2, 0], dtype=np.int64)
    characters = generator.integers(1, 9, lengths.sum())
    found = piece_weights(kind, lengths, characters, decay=decay)
    ends = lengths.cumsum()
    for end, length in zip(ends, lengths, strict=True):
        if length:
            weights = WEIGHTS[kind](characters[end - length : end].tolist(), decay)
            np.testing.assert_allclose(found[end - length : end], weights / weights.sum(), rtol=1e-13, atol=1e-300)
    same = {("decayed", 0.0): "first", ("rising", 0.0): "last", ("decayed", 1.0): "mean", ("rising", 1.0): "mean"}
    if other := same.get((kind, decay)):
        np.testing.assert_array_equal(found, piece_weights(other, lengths, characters))


def test_characters_are_those_of_the_running_text():
    """The space of a word counts; part of a character is one, and so is what is no text."""
    vocabulary = make_vocabulary(["<s>", " a", " Stra\u00dfe", " \ud55c\uad6d"])
    cut = replace(vocabulary, forms=[*vocabulary.forms[:3], Form(b"\x95\x9c", False)])
    assert characters_of(vocabulary).tolist() == [1, 2, 7, 3]
    assert characters_of(cut).tolist() == [1, 2, 7, 1]


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
    for name in ("input", "head"):
        with pytest.raises(InputError, match=f"{name} is 'middle', expected mean or first or last or decayed or "):
            Subword(**{name: "middle"})
    for decay in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match=f"decay is {decay}, expected a number from 0 to 1"):
            Subword(decay=decay)
    with pytest.raises(InputError, match="pass source_tokenizer"):
        Subword().combine(world(3, 2).material())
