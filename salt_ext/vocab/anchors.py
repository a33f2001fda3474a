"""Anchors: the tokens that two vocabularies share, by form, beside pairs that are known otherwise."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from salt_ext.errors import InputError
from salt_ext.vocab.forms import Form
from salt_ext.vocab.vocabulary import Vocabulary

Level = Literal["exact", "case", "loose"]


@dataclass(frozen=True)
class Anchors:
    """Pairs of equal tokens, one row per target token that has an equal in the source.

    Attributes:
        source_ids: int64 [n]; a source token may serve several target tokens.
        target_ids: int64 [n], strictly ascending.
        kinds: str [n]: "exact"; "byte" (equal too, but a byte-fallback piece on either side, or bytes that cut a
            character); "case" and "loose" (only at those levels); "special" (special tokens and markers that were
            given as pairs); "mapped" (the user's own pairs).
        collisions: "source" and "target": how many forms several ids of that vocabulary share; "case" and "loose":
            how many target tokens had several source tokens to choose from at that level.
    """

    source_ids: npt.NDArray[np.int64]
    target_ids: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.str_]
    collisions: dict[str, int]

    def __len__(self) -> int:
        return len(self.target_ids)

    def counts(self) -> dict[str, int]:
        """How many anchors there are of each kind; kinds without any are absent."""
        return dict(sorted(Counter(self.kinds.tolist()).items()))

    def only(self, kept: npt.NDArray[np.bool_]) -> Anchors:
        """Some of them.

        Args:
            kept: bool [n].
        """
        return Anchors(self.source_ids[kept], self.target_ids[kept], self.kinds[kept], self.collisions)


def match_vocabularies(
    source: Vocabulary,
    target: Vocabulary,
    *,
    level: Level = "exact",
    pairs: Mapping[int, int] | None = None,
    mapped: Mapping[int, int | None] | None = None,
) -> Anchors:
    """Pair every target token with the source token that is the same.

    Forms are compared exactly. "case" also pairs, for target tokens without an exact equal, text that is equal after
    Unicode normalisation (NFC), then after case folding; "loose" further drops the mark of a word's beginning. Of
    several source tokens with one form, the same spelling is taken, else a literal piece before a byte-fallback piece,
    else the lowest id. Special tokens have no form and pair only as they are told to.

    Args:
        source: the source's vocabulary.
        target: the target's vocabulary.
        level: how wide forms are matched.
        pairs: target id -> source id of special tokens and markers, see `salt_ext.tokenizer`; at every level alike.
        mapped: target id -> source id as the user has it, or None for a token that shall have no partner.

    Raises:
        InputError: `level` is none of the three.
    """
    if level not in get_args(Level):
        raise InputError(f"match level must be one of {', '.join(get_args(Level))}; found {level!r}")
    by_form = index_forms(source, lambda form: form)
    told: dict[int, int | None] = {**(pairs or {}), **(mapped or {})}
    found = {
        new: (old, "mapped" if new in (mapped or {}) else "special") for new, old in told.items() if old is not None
    }
    for number, form in enumerate(target.forms):
        best = by_form.best.get(form)
        if form is not None and best is not None and number not in told:
            same = (other for other in by_form.shared.get(form, ()) if source.tokens[other] == target.tokens[number])
            chosen = next(same, best)
            found[number] = (chosen, _exact_kind(form, number in target.byte_ids or chosen in source.byte_ids))
    collisions = {"source": len(by_form.shared), "target": len(index_forms(target, lambda form: form).shared)}
    for kind, key in _wider_keys(level):
        by_key = index_forms(source, key)
        collisions.setdefault(kind, 0)
        for number, form in enumerate(target.forms):
            wanted = key(form) if form is not None and number not in found and number not in told else None
            if wanted in by_key.best:
                found[number] = (by_key.best[wanted], kind)
                collisions[kind] += wanted in by_key.shared
    ordered = sorted(found.items())
    return Anchors(
        source_ids=np.array([old for _, (old, _) in ordered], dtype=np.int64),
        target_ids=np.array([new for new, _ in ordered], dtype=np.int64),
        kinds=np.array([kind for _, (_, kind) in ordered], dtype=np.str_),
        collisions=collisions,
    )


class _Index(NamedTuple):
    """Ids of a vocabulary by a key of their form."""

    best: dict[Hashable, int]  # a literal piece before a byte-fallback piece, then the lowest id
    shared: dict[Hashable, list[int]]  # all ids in that order, for keys with more than one


def index_forms(vocabulary: Vocabulary, key: Callable[[Form], Hashable | None]) -> _Index:
    """Index the tokens that have a form and a key."""
    index = _Index({}, {})
    literal = (number for number in range(vocabulary.size) if number not in vocabulary.byte_ids)
    for number in (*literal, *sorted(vocabulary.byte_ids)):
        form = vocabulary.forms[number]
        value = key(form) if form is not None else None
        if value is None:
            continue
        best = index.best.setdefault(value, number)
        if best != number:
            index.shared.setdefault(value, [best]).append(number)
    return index


def _exact_kind(form: Form, byte_piece: bool) -> str:
    if byte_piece:
        return "byte"
    try:
        form.data.decode("utf-8")
    except UnicodeDecodeError:
        return "byte"
    return "exact"


def _wider_keys(level: Level) -> Iterator[tuple[str, Callable[[Form], Hashable | None]]]:
    """The passes beyond the exact one, nearest first, so that `Ä` finds a decomposed `Ä` before it finds `ä`."""
    if level != "exact":
        yield "case", lambda form: _with_marker(_composed(form), form)
        yield "case", lambda form: _with_marker(_folded(form), form)
    if level == "loose":
        yield "loose", lambda form: form.data or None
        yield "loose", _composed
        yield "loose", _folded


def _with_marker(text: str | None, form: Form) -> tuple[str, bool] | None:
    return None if text is None else (text, form.begins_word)


def _composed(form: Form) -> str | None:
    """The text in NFC; None where the bytes are no text, or nothing but the mark of a word's beginning."""
    try:
        return unicodedata.normalize("NFC", form.data.decode("utf-8")) or None
    except UnicodeDecodeError:
        return None


def _folded(form: Form) -> str | None:
    text = _composed(form)
    return None if text is None else unicodedata.normalize("NFC", text.casefold())
