"""Units of alignment: the words of a text, each as the tokens that a tokenizer makes of it.

Translations are learnt between words and handed on to their tokens, as in trans-tokenization (Remy et al. 2024). Which
tokens make a word is read from their offsets in the text, so that it holds for every family of tokenizers, whatever
letters they spell their pieces with and whatever they normalise.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from salt_ext.alignment.corpus import LONGEST_LINE, Corpus
from salt_ext.vocab import Vocabulary
from salt_ext.vocab.rust import rust_errors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Pieces = tuple[int, ...]
Unit = Literal["word", "token"]

# Scripts that do not part words by spaces, by the first words of their characters' Unicode names. A run of letters is
# a clause there, so each token is taken for a word.
_UNSPACED = ("CJK ", "HIRAGANA ", "KATAKANA", "THAI ", "LAO ", "KHMER ", "MYANMAR ", "TIBETAN ")
# A word is encoded behind this, as it stands inside a text.
_CARRIER = "x "
_BATCH = 1024


@dataclass(frozen=True)
class UnitText:
    """One side of a parallel text.

    Attributes:
        corpus: the numbers of the units, line by line.
        pieces: token ids of each unit; units of equal tokens are one.
        names: how each unit was written where it first occurred, without whitespace.
        skipped: lines that were too long to be sentences and count as blank.
    """

    corpus: Corpus
    pieces: list[Pieces]
    names: list[str]
    skipped: int


def read_units(
    tokenizer: PreTrainedTokenizerBase,
    vocabulary: Vocabulary,
    lines: Sequence[str],
    *,
    unit: Unit = "word",
    progress: Callable[[int, int], None] | None = None,
) -> UnitText:
    """Cuts every line into units.

    A word is a run of tokens with no whitespace between them and letters (or digits) on both sides of every joint; all
    tokens that share a character belong together too. Special tokens, the unknown token among them, are no units, and
    neither are tokens of whitespace unless every token is a unit.

    Args:
        tokenizer: a fast tokenizer.
        vocabulary: what its ids stand for.
        lines: the text.
        unit: "word", or "token" to align every token by itself.
        progress: called with (lines done, lines in all).
    """
    mute = _mute(vocabulary, blanks=unit == "word")
    numbers: dict[Pieces, int] = {}
    names: list[str] = []
    starts, places = [0], []
    usable = [line if len(line) <= LONGEST_LINE else "" for line in lines]
    for line, tokens in zip(usable, _encode(tokenizer, usable, progress), strict=True):
        for pieces, begin, end in _group(line, tokens, mute, words=unit == "word"):
            number = numbers.setdefault(pieces, len(names))
            if number == len(names):
                names.append("".join(line[begin:end].split()) or "_")
            places.append(number)
        starts.append(len(places))
    corpus = Corpus(np.array(starts, dtype=np.int64), np.array(places, dtype=np.int64))
    return UnitText(corpus, list(numbers), names, sum(len(line) > LONGEST_LINE for line in lines))


def word_pieces(tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary, words: Sequence[str]) -> list[Pieces]:
    """The tokens of each word or phrase as it is written after another word; none where all are unknown."""
    mute = _mute(vocabulary, blanks=True)
    carried = [_CARRIER + " ".join(word.split()) for word in words]
    return [
        tuple(number for number, _, end in tokens if end > len(_CARRIER) and number not in mute)
        for tokens in _encode(tokenizer, carried, None)
    ]


def _mute(vocabulary: Vocabulary, *, blanks: bool) -> frozenset[int]:
    """Tokens that are never aligned."""
    blank = {number for number, form in enumerate(vocabulary.forms) if form is None or not form.written.strip()}
    return vocabulary.special_ids | blank if blanks else vocabulary.special_ids


def _encode(
    tokenizer: PreTrainedTokenizerBase, lines: Sequence[str], progress: Callable[[int, int], None] | None
) -> Iterator[list[tuple[int, int, int]]]:
    """(id, begin, end) of every token of every line, without special tokens that the tokenizer would add."""
    for first in range(0, len(lines), _BATCH):
        with rust_errors(tokenizer):
            encoded: Any = tokenizer(
                list(lines[first : first + _BATCH]),
                add_special_tokens=False,
                truncation=False,
                padding=False,
                return_attention_mask=False,
                return_token_type_ids=False,
                return_offsets_mapping=True,
                verbose=False,
            )
        for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            yield [(number, begin, end) for number, (begin, end) in zip(ids, offsets, strict=True)]
        if progress is not None:
            progress(min(first + _BATCH, len(lines)), len(lines))


def _group(
    line: str, tokens: list[tuple[int, int, int]], mute: frozenset[int], *, words: bool
) -> Iterator[tuple[Pieces, int, int]]:
    """The units of a line with their places in it."""
    unit: list[int] = []
    first = last = 0
    for number, begin, end in tokens:
        if number in mute:
            continue
        # Some tokenizers count the space before a word in its token.
        while begin < end and line[begin].isspace():
            begin += 1
        while begin < end and line[end - 1].isspace():
            end -= 1
        if words and begin == end:  # a space of another script, in the tokens of its bytes
            continue
        if unit and words and _joined(line, last, begin):
            unit.append(number)
            last = max(last, end)
            continue
        if unit:
            yield tuple(unit), first, last
        unit, first, last = [number], begin, end
    if unit:
        yield tuple(unit), first, last


def _joined(line: str, end: int, begin: int) -> bool:
    """Whether a token that ends before `end` and one that begins at `begin` are parts of one word."""
    if begin < end:
        return True
    if not end or begin >= len(line) or any(letter.isspace() for letter in line[end:begin]):
        return False
    before = _kind(line[end - 1])
    return before is not None and before == _kind(line[begin])


@lru_cache(maxsize=1 << 16)
def _kind(letter: str) -> str | None:
    """ "L" for letters and the marks on them, "N" for digits, None for what joins with nothing."""
    kind = unicodedata.category(letter)[0]
    if kind not in "LMN" or unicodedata.name(letter, "").startswith(_UNSPACED):
        return None
    return "N" if kind == "N" else "L"
