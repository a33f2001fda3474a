"""Digits and white space: a tokenizer that joins digits beside one that does not, number by number."""

from __future__ import annotations

import pytest

from salt_ext.diagnosis.cuts import compare_cuts
from salt_ext.diagnosis.subject import open_subject
from salt_ext.vocab import load_tokenizer


@pytest.fixture(scope="module")
def opened(moved):
    return open_subject(moved)


@pytest.fixture(scope="module")
def found(opened, source):
    return compare_cuts(opened, load_tokenizer(source))


def digits_of(tokenizer, number: int) -> list[str]:
    """The pieces of a number in the midst of a text, each without its space, by what the tokenizer itself spells."""
    text = f"a = {number} b"
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    pieces = [text[begin:end].strip() for begin, end in encoded["offset_mapping"]]
    return [piece for piece in pieces if piece.isdigit()]


def test_the_source_cuts_every_digit(found):
    assert [each.source for each in found.lengths] == [1, 2, 3, 4, 5, 6]
    assert found.lengths[0].differ == 0
    assert found.lengths[2].new < 3


def test_shares_of_two_digit_numbers(opened, source, found):
    """There are only ninety: all are tried."""
    old = load_tokenizer(source)
    differ = [digits_of(old, n) != digits_of(opened.tokenizer, n) for n in range(10, 100)]
    assert 0 < sum(differ) < 90
    assert found.lengths[1].differ == pytest.approx(sum(differ) / 90)


def test_a_tokenizer_is_the_same_as_itself(opened):
    found = compare_cuts(opened, opened.tokenizer)
    assert all(each.differ == 0 and each.source == each.new for each in found.lengths)
    assert all(cut.same and cut.source == cut.new for cut in (*found.numbers, *found.spaces))


def test_examples_are_whole(opened, found):
    for cut in (*found.numbers, *found.spaces):
        assert "".join(cut.source) == "".join(cut.new) == cut.text
        assert cut.same == (cut.source == cut.new)
    year = next(cut for cut in found.numbers if cut.label == "year")
    ids = opened.tokenizer(year.text, add_special_tokens=False)["input_ids"]
    assert year.made == sum(number in set(opened.made.tolist()) for number in ids)
