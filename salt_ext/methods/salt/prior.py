"""A first guess at a token's row from source tokens, which the anchors around it then correct.

With p(t) the guess, a weighted sum of source rows, and w the local weights of the anchors N of token t,

    e = p(t) + w (B - p(N)),

as with a global map in p's place: the anchors show how far the guess is off thereabouts (simple kriging with a varying
mean; Goovaerts 1997, section 6.1). For that an anchor is guessed at as a new token is, without the one source token
that it equals: with it, its guess would be its row, and there would be nothing to learn. An anchor of which nothing
else is known corrects nobody. A token of which nothing is known is left to the map, if there is one, or to w alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from salt_ext.alignment.table import read_table
from salt_ext.methods.alignment_rows import TOLD_KINDS, trans_tokenization
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.entries import Entries, Ints, joined
from salt_ext.methods.core.inputs import MethodInputs
from salt_ext.methods.core.piece_weights import Kind, characters_of, piece_weights
from salt_ext.methods.core.pieces import source_segmenter
from salt_ext.plan import LowRank
from salt_ext.vocab import Form
from salt_ext.vocab.anchors import index_forms
from salt_ext.vocab.rust import rust_errors

PRIORS = ("none", "subword", "alignment")
_BLOCK = 2048


@dataclass(frozen=True, eq=False)
class Prior:
    """Guesses as weights of source rows, CSR [target.size, source.size]; a row without entries is not known.

    Attributes:
        crow: int64 [target.size + 1].
        col: int64 [nnz], source ids, each at most once in a row, never the one that is the token itself.
        values: float64 [nnz]; a row sums to 1.
    """

    crow: Ints
    col: Ints
    values: npt.NDArray[np.float64]

    @classmethod
    def of(
        cls, material: MethodInputs, kind: str, alignment: Path | None = None, *, pieces: Kind = "mean"
    ) -> Prior | None:
        """The guesses at all tokens that are text, anchors too; None where kind is "none".

        Args:
            material: of the method.
            kind: one of `PRIORS`: the source tokens of the token's pieces, or those that it translates.
            alignment: the table that `salt-ext align` made of the same two tokenizers, for the latter.
            pieces: what the pieces' weights go by, see `piece_weights`.

        Raises:
            InputError: the alignment cannot be read or is of other tokenizers, or the source's tokenizer is missing.
        """
        if kind == "none":
            return None
        own = _own_sources(material)
        found = _pieces(material, own, pieces) if kind == "subword" else _translations(material, Path(str(alignment)))
        entries = found.part_of(found.columns != own[found.rows]).merged()
        totals = np.bincount(entries.rows, entries.values, minlength=material.target.size)
        counts = np.bincount(entries.rows, minlength=material.target.size)
        crow = np.concatenate([[0], counts.cumsum()])
        return cls(crow, entries.columns, entries.values / totals[entries.rows])

    @cached_property
    def known(self) -> npt.NDArray[np.bool_]:
        """bool [target.size]."""
        found: npt.NDArray[np.bool_] = np.diff(self.crow) > 0
        return found

    def correct(self, combined: Combinations, wanted: Ints, keys: tuple[Ints, Ints]) -> Combinations:
        """The guesses, corrected by anchors.

        Args:
            combined: local weights; its `source_ids` are places among the anchors, its low-rank part the map for tokens
                of which nothing is known.
            wanted: int64 [n], the new tokens to make; those that `combined` lacks get the guess as it is.
            keys: int64 [K] each, the target ids and the source ids of the anchors.
        """
        made, known, residual = combined.target_ids, self.known, combined.residual
        alone = np.setdiff1d(wanted[known[wanted]], made)
        local = Entries(np.repeat(np.arange(len(made)), combined.lengths), combined.source_ids, combined.values)
        blocks = []
        for first in range(0, len(made), _BLOCK):
            ids = made[first : first + _BLOCK]
            begin, end = np.searchsorted(local.rows, [first, first + len(ids)]).tolist()
            blocks.append(self._corrected(local.part(begin, end), first, ids, keys).merged())
        entries = joined([*blocks, self.guesses(alone, len(made))])
        return replace(
            combined,
            target_ids=np.concatenate([made, alone]),
            lengths=np.bincount(entries.rows, minlength=len(made) + len(alone)),
            source_ids=entries.columns,
            values=entries.values.astype(np.float32),
            residual=None if residual is None else np.pad(residual, (0, len(alone)), constant_values=np.nan),
            low_rank=_without(combined.low_rank, known),
        )

    def _corrected(self, local: Entries, first: int, ids: Ints, keys: tuple[Ints, Ints]) -> Entries:
        """p(t) + w (B - p(N)) of some rows, those numbered from `first`; w B where p(t) is not known."""
        key_targets, key_sources = keys
        told = self.known[ids][local.rows - first]
        serves = local.part_of(~told | self.known[key_targets[local.columns]])
        errors = local.part_of(told)
        guesses = self.guesses(key_targets[errors.columns])
        return joined(
            [
                self.guesses(ids, first),
                Entries(serves.rows, key_sources[serves.columns], serves.values),
                Entries(errors.rows[guesses.rows], guesses.columns, -errors.values[guesses.rows] * guesses.values),
            ]
        )

    def guesses(self, ids: Ints, first: int = 0) -> Entries:
        """The guesses at some tokens, numbered from `first`; none for those of which nothing is known."""
        sizes = self.crow[ids + 1] - self.crow[ids]
        before = sizes.cumsum() - sizes
        places = np.repeat(self.crow[ids] - before, sizes) + np.arange(sizes.sum())
        return Entries(np.repeat(np.arange(first, first + len(ids)), sizes), self.col[places], self.values[places])


def _own_sources(material: MethodInputs) -> Ints:
    """The source token that each target token equals, -1 for none: int64 [target.size].

    By its form also where it is no anchor: when anchors are left out to see how well they are found, they are not to be
    found in themselves.
    """
    by_form = index_forms(material.source, lambda form: form).best
    own = np.array([-1 if form is None else by_form.get(form, -1) for form in material.target.forms], dtype=np.int64)
    own[material.anchors.target_ids] = material.anchors.source_ids
    return own


def _text_ids(material: MethodInputs) -> Ints:
    return np.sort(np.concatenate([material.new, material.anchors.target_ids[material.text_anchors]]))


def _translations(material: MethodInputs, file: Path) -> Entries:
    """Trans-tokenization's rows where no token is copied, by target ids."""
    told = material.anchors.only(np.isin(material.anchors.kinds, TOLD_KINDS))
    made = trans_tokenization(read_table(file), told, material.source, material.target).combined
    return Entries(np.repeat(made.target_ids, made.lengths), made.source_ids, made.values)


def _pieces(material: MethodInputs, own: Ints, kind: Kind) -> Entries:
    """The pieces of every token's text with their weights, by target ids."""
    cut = source_segmenter(material)
    lengths, pieces = np.zeros(material.target.size, dtype=np.int64), list[int]()
    with rust_errors(material.source.name):
        for number in _text_ids(material).tolist():
            form = material.target.forms[number]
            found = [] if form is None else cut(form)
            if form is not None and found == [own[number]]:
                found = _cut_in_two(form, cut)
            lengths[number] = len(found)
            pieces += found
    ids = np.array(pieces, dtype=np.int64)
    weights = piece_weights(kind, lengths, characters_of(material.source)[ids])
    return Entries(np.repeat(np.arange(len(lengths)), lengths), ids, weights)


def _cut_in_two(form: Form, cut: Callable[[Form], list[int]]) -> list[int]:
    """The fewest pieces of two parts, the first as long as possible; none for a single character."""
    ends = [end for end in range(1, len(form.data)) if form.data[end] & 0xC0 != 0x80]
    parts = [
        (cut(Form(form.data[:end], form.begins_word)), cut(Form(form.data[end:], False))) for end in reversed(ends)
    ]
    return min((a + b for a, b in parts if a and b), key=len, default=[])


def _without(low_rank: LowRank | None, known: npt.NDArray[np.bool_]) -> LowRank | None:
    """The map's part in the rows that no guess is known of."""
    if low_rank is None:
        return None
    left = torch.from_numpy(~known)[low_rank.rows]
    return replace(low_rank, rows=low_rank.rows[left], left=low_rank.left[left]) if bool(left.any()) else None
