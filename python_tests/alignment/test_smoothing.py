"""Which tokens stand in for one without translations, against a search of all of them."""

from __future__ import annotations

import numpy as np
import pytest

from salt_ext.alignment.smoothing import Trie, similar_tokens


def by_search(text, keys):
    """Extensions, then the longest inside, as sets."""
    inside = [key for key in keys if key in text]
    return (
        {key for key in keys if key.startswith(text)},
        {key for key in inside if not any(key != other and key in other for other in inside)},
    )


def test_by_hand():
    mapped = {1: b" Haus", 2: b"boot", 3: b"bo", 4: b" Hausbootbau", 5: b"us", 6: b"Haus", 7: b" Baum"}
    assert similar_tokens({9: b" Hausboot"}, mapped) == {9: [4, 1, 2]}
    assert similar_tokens({9: b"xboo", 8: b" B", 7: b"zzz"}, mapped) == {9: [3], 8: [7]}


def test_equal_spellings_count_once():
    assert similar_tokens({9: b"ab"}, {1: b"ab", 2: b"ab", 3: b"b"}) == {9: [1, 2]}


def test_bytes_that_cut_a_letter_stand_in_for_nothing():
    letter = "ế".encode()
    assert similar_tokens({9: b"t" + letter, 8: letter[:2]}, {1: letter[:2], 2: b"t", 3: letter[1:]}) == {9: [2]}


def test_beginnings_at_the_end_of_the_alphabet():
    trie = Trie([b"\xff", b"\xff\xff", b"\xfe\xff", b"a\xff", b"a\xff\xff", b"b", b"a"])
    assert list(trie.extensions(b"\xff")) == [b"\xff", b"\xff\xff"]
    assert list(trie.extensions(b"a\xff")) == [b"a\xff", b"a\xff\xff"]
    assert trie.longest_prefix(b"a\xff\xfe") == b"a\xff"
    assert trie.longest_prefix(b"c") is None
    assert Trie([]).longest_prefix(b"a") is None
    assert list(Trie([]).extensions(b"a")) == []


@pytest.mark.parametrize("letters", [2, 3, 6])
def test_random_strings_against_a_search(letters):
    rng = np.random.default_rng(letters)

    def strings(count, longest):
        return {bytes(rng.integers(97, 97 + letters, rng.integers(1, longest)).tolist()) for _ in range(count)}

    keys = strings(80, 6)
    trie = Trie(keys)
    for text in strings(300, 9):
        extensions, inside = by_search(text, keys)
        assert set(trie.extensions(text)) == extensions
        assert set(trie.longest_inside(text)) == inside
        beginnings = [key for key in keys if text.startswith(key)]
        assert trie.longest_prefix(text) == max(beginnings, key=len, default=None)


def test_real_vocabulary_against_a_search(real):
    """A sample of the unmapped tokens; every fifth token is mapped."""
    forms = real("models/de-gpt").vocabulary.forms
    written = {number: form.written for number, form in enumerate(forms) if form is not None}
    mapped = {number: data for number, data in written.items() if number % 5 == 0}
    unmapped = {number: data for number, data in written.items() if number % 5}
    found = similar_tokens(unmapped, mapped)
    texts = {number: data for number, data in mapped.items() if data.decode("utf-8", "replace").find("\ufffd") < 0}
    for number in list(unmapped)[300::40]:
        extensions, inside = by_search(unmapped[number], set(texts.values()))
        wanted = {other for other, data in texts.items() if data in extensions | inside}
        assert set(found.get(number, [])) == wanted
