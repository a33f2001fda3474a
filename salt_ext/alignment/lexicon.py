"""Translations of words from a file: a probability table of fast_align, or a bilingual dictionary."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from salt_ext.alignment.corpus import read_lines
from salt_ext.alignment.counts import WordCounts
from salt_ext.alignment.units import word_pieces
from salt_ext.errors import InputError
from salt_ext.vocab import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NULL_WORD = "<eps>"
# What the weight 1 of a dictionary, or the probability 1 of a table without counts, counts as. Counts are whole
# numbers that are split among the tokens of a word: small ones would be lost in the rounding.
UNIT_COUNT = 1000
# Odds at which a lexicon is taken to be the wrong way round. On English-German and English-Vietnamese dictionaries and
# nine pairs of tokenizers the right way had odds of 1.9 to 75, with this many words added to every count.
_WRONG_ODDS = 0.5
_ADDED = 10
_SAMPLE = 5000


class Entry(NamedTuple):
    """One translation."""

    source: str
    target: str
    weight: float


class Side(NamedTuple):
    """A tokenizer and what its ids stand for."""

    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary


def read_dictionary(path: str | Path) -> list[Entry]:
    """A bilingual dictionary: a source word or phrase, a tab, its translation, and if wanted a tab and a weight.

    Weights are above 0 and relative; a line without one has the weight 1. Each counts as 1000 times as much, so that
    nothing is lost in the rounding that the counts of tokens go through.

    Raises:
        InputError: the file cannot be read, is empty, or a line is not of this form.
    """
    return list(_entries(path, "dictionary", (2, 3), "source word, tab, target word[, tab, weight]", _weighted))


def read_probabilities(path: str | Path) -> list[Entry]:
    """A probability table of fast_align (-p): source, target, ln p(target|source), and where it has it the count.

    The null word's rows are left out. Without counts each row counts as 1000 p.

    Raises:
        InputError: the file cannot be read, is empty, or a line is not of this form.
    """
    form = "source, target, ln p[, count] parted by tabs"
    entries = _entries(path, "probability table", (3, 4), form, _probable)
    return [entry for entry in entries if NULL_WORD not in entry[:2]]


def lexicon_counts(entries: Sequence[Entry], source: Side, target: Side, *, what: str) -> WordCounts:
    """The translations as words of the two tokenizers; each is encoded as it stands behind another word.

    Args:
        entries: the translations.
        source: the source's tokenizer.
        target: the target's.
        what: what to call them in messages.

    Raises:
        InputError: there are none, or they are the wrong way round: their first words are those of the target's
            tokenizer, their second those of the source's.
    """
    if not entries:
        raise InputError(f"{what} is empty; expected translations of words")
    check_direction(entries, source, target, what=what)
    old = {word: number for number, word in enumerate(dict.fromkeys(entry.source for entry in entries))}
    new = {word: number for number, word in enumerate(dict.fromkeys(entry.target for entry in entries))}
    return WordCounts(
        source_pieces=word_pieces(*source, list(old)),
        target_pieces=word_pieces(*target, list(new)),
        source=np.array([old[entry.source] for entry in entries], dtype=np.int64),
        target=np.array([new[entry.target] for entry in entries], dtype=np.int64),
        count=np.array([entry.weight for entry in entries], dtype=np.float64),
    )


def check_direction(entries: Sequence[Entry], source: Side, target: Side, *, what: str) -> None:
    """Compares, on a sample of the entries, how many words of either column are whole tokens of either tokenizer.

    A tokenizer of many languages, or of English beside its own, may have more whole words of the wrong column. So the
    odds count: those of the source's tokenizer for the first column over those of the target's.

    Raises:
        InputError: the source's tokenizer is by far the better one for the second column.
    """
    sample = [entry for entry in entries[:: max(1, len(entries) // _SAMPLE)] if entry.source != entry.target]
    columns = [entry.source for entry in sample], [entry.target for entry in sample]
    (own, other), (others_first, others_own) = (
        [sum(len(pieces) == 1 for pieces in word_pieces(*side, words)) for words in columns]
        for side in (source, target)
    )
    right, wrong = (own + _ADDED) * (others_own + _ADDED), (other + _ADDED) * (others_first + _ADDED)
    if right < _WRONG_ODDS * wrong:
        raise InputError(
            f"{what} is in the wrong direction: of {len(sample):,} first words {own:,} are whole tokens of "
            f"{source.vocabulary.name} and {others_first:,} of {target.vocabulary.name}, of the second {other:,} and "
            f"{others_own:,}; expected the words of {source.vocabulary.name} first"
        )


def _entries(
    path: str | Path, what: str, columns: tuple[int, int], form: str, read: Callable[[list[str]], Entry]
) -> Iterator[Entry]:
    for number, line in enumerate(read_lines(path, what), 1):
        if not line.strip():
            continue
        cells = line.split("\t")
        try:
            if len(cells) not in columns or not all(cell.strip() for cell in cells[:2]):
                raise ValueError
            yield read(cells)
        except ValueError:
            raise InputError(f"{what} {path}: line {number:,} is {line[:60]!r}, expected {form}") from None


def _weighted(cells: list[str]) -> Entry:
    weight = float(cells[2]) if len(cells) == 3 else 1.0
    if not (math.isfinite(weight) and weight > 0):
        raise ValueError
    # No weight rounds down to nothing.
    return Entry(cells[0].strip(), cells[1].strip(), max(1.0, UNIT_COUNT * weight))


def _probable(cells: list[str]) -> Entry:
    log_probability = float(cells[2])
    count = float(cells[3]) if len(cells) == 4 else UNIT_COUNT * math.exp(min(0.0, log_probability))
    if not (math.isfinite(count) and count >= 0 and log_probability <= 0):
        raise ValueError
    return Entry(cells[0], cells[1], count)
