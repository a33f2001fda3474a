"""Digits and white space that the new tokenizer cuts in other places than the source's.

A model has learnt to reckon with numbers as its own tokenizer cuts them: moved to one that cuts them otherwise, models
lost most of their arithmetic (GSM8K from 0.56 to 0.15 with a donor that differs in digits alone; Goddard & Fernandes
Neto 2025, arXiv 2506.06607), which no vector repairs. The same holds, less, for indentation and line breaks, which code
and lists depend on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from salt_ext.diagnosis.subject import Subject
from salt_ext.evaluation.boundaries import NO_END, Segmented, segment

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# In the midst of a text, where numbers stand.
_FRAME = "a = {} b"
_PER_LENGTH = 100
_LONGEST = 6
_SPACE = {
    "line break": "a\nb",
    "empty line": "a\n\nb",
    "tab": "a\tb",
    "two spaces": "a  b",
    "four spaces": "x:\n    b",
    "eight spaces": "x:\n        b",
    "line break behind a space": "a \nb",
    "list": "- a\n- b\n  - c",
    "Windows line break": "a\r\nb",
}
_NUMBERS = {
    "one digit": "7",
    "two digits": "42",
    "three digits": "365",
    "year": "2024",
    "five digits": "12345",
    "thousands, English": "1,234,567",
    "thousands, German": "1.234.567",
    "decimal fraction": "3.14159",
    "percentage": "12.5%",
    "sum": "17+25=42",
}


@dataclass(frozen=True)
class Cut:
    """One example.

    Attributes:
        label: what it is an example of.
        text: the example.
        source: the pieces that the source's tokenizer cuts it into.
        new: those of the new one.
        same: whether they are the same.
        made: how many of the new pieces are tokens whose rows were made, not copied.
    """

    label: str
    text: str
    source: tuple[str, ...]
    new: tuple[str, ...]
    same: bool
    made: int


@dataclass(frozen=True)
class Length:
    """Numbers of one length, in the midst of a text.

    Attributes:
        digits: how many digits.
        differ: share of such numbers that are cut at other places between their digits.
        source: tokens per number that write a digit, by the source's tokenizer.
        new: likewise by the new one.
    """

    digits: int
    differ: float
    source: float
    new: float


@dataclass(frozen=True)
class Cuts:
    """Digits and white space.

    Attributes:
        lengths: numbers by length, each a sample of up to 100.
        numbers: examples of numbers.
        spaces: examples of white space.
    """

    lengths: tuple[Length, ...]
    numbers: tuple[Cut, ...]
    spaces: tuple[Cut, ...]


def compare_cuts(subject: Subject, source: PreTrainedTokenizerBase) -> Cuts:
    """Encodes numbers and white space with both tokenizers.

    Raises:
        InputError: a tokenizer gives no offsets.
    """
    numbers = {label: _FRAME.format(text) for label, text in _NUMBERS.items()}
    return Cuts(
        lengths=tuple(_of_length(subject, source, digits) for digits in range(1, _LONGEST + 1)),
        numbers=_examples(subject, source, numbers),
        spaces=_examples(subject, source, _SPACE),
    )


def _of_length(subject: Subject, source: PreTrainedTokenizerBase, digits: int) -> Length:
    low, high = (0 if digits == 1 else 10 ** (digits - 1)), 10**digits
    every = np.arange(low, high)
    drawn = every if len(every) <= _PER_LENGTH else np.random.default_rng(digits).choice(every, _PER_LENGTH, False)
    texts = [_FRAME.format(number) for number in drawn.tolist()]
    old, new = segment(source, texts), segment(subject.tokenizer, texts)
    begin = _FRAME.index("{")
    # Ends up to the last digit: but for the number's own end all lie between two digits.
    before, after = ([_within(cut, begin, begin + digits) for cut in each] for each in (old, new))
    differ = [a != b for a, b in zip(before, after, strict=True)]
    return Length(
        digits,
        sum(differ) / len(differ),
        sum(map(len, before)) / len(before),
        sum(map(len, after)) / len(after),
    )


def _examples(subject: Subject, source: PreTrainedTokenizerBase, texts: dict[str, str]) -> tuple[Cut, ...]:
    old, new = segment(source, list(texts.values())), segment(subject.tokenizer, list(texts.values()))
    is_new = subject.is_new
    return tuple(
        Cut(label, text, _pieces(text, a), _pieces(text, b), _ends(a) == _ends(b), int(is_new[b.ids].sum()))
        for (label, text), a, b in zip(texts.items(), old, new, strict=True)
    )


def _ends(cut: Segmented) -> list[int]:
    return cut.ends.tolist()


def _within(cut: Segmented, begin: int, end: int) -> list[int]:
    """The ends of tokens behind `begin`, up to `end`."""
    return [each for each in _ends(cut) if begin < each <= end]


def _pieces(text: str, cut: Segmented) -> tuple[str, ...]:
    """The text between the ends; tokens that end within a character are one piece with what ends it."""
    ends: Sequence[int] = [end for end in _ends(cut) if end != NO_END]
    return tuple(text[begin:end] for begin, end in zip([0, *ends], ends, strict=False))
