"""Tokens that a method does not make for want of a vector: the source's own pieces, where no paper says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypedDict

import numpy as np

from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.inputs import MethodInputs
from salt_ext.methods.core.pieces import segment_tokens
from salt_ext.plan import Provenance

_MANY = 0.01


def made_of_pieces(combined: Combinations, material: MethodInputs) -> Combinations:
    """The same with the remaining new tokens as the mean of their pieces; the mean row for those without any.

    A row that is drawn at random is worth less than either on a real model.

    Args:
        combined: rows of a method.
        material: what it was given.

    Raises:
        InputError: the source's tokenizer is slow.
    """
    made = combined.target_ids[combined.lengths > 0]
    if combined.low_rank is not None:
        made = np.union1d(made, combined.low_rank.rows.numpy())
    left = np.setdiff1d(material.new, made)
    combined = replace(combined, fallback=Provenance.AVERAGED)
    if not len(left):
        return combined
    lengths, pieces = np.zeros(len(left), dtype=np.int64), np.empty(0, dtype=np.int64)
    if material.source_tokenizer is not None:
        lengths, pieces = segment_tokens(replace(material, progress=None), left)
    told = _told(combined, of_pieces=int((lengths > 0).sum()), left=len(left), new=len(material.new))
    left, lengths = left[lengths > 0], lengths[lengths > 0]
    values = np.repeat(1 / lengths, lengths).astype(np.float32)
    kept = ~np.isin(combined.target_ids, left)  # rows without entries, which `left` has again
    residual = combined.residual
    return replace(
        combined,
        target_ids=np.concatenate([combined.target_ids[kept], left]),
        lengths=np.concatenate([combined.lengths[kept], lengths]),
        source_ids=np.concatenate([combined.source_ids, pieces]),
        values=np.concatenate([combined.values, values]),
        head_values=None if combined.head_values is None else np.concatenate([combined.head_values, values]),
        residual=None if residual is None else np.concatenate([residual[kept], np.full(len(left), np.nan, np.float32)]),
        **told,
    )


class _Told(TypedDict):
    facts: Mapping[str, Any]
    warnings: tuple[str, ...]


def _told(combined: Combinations, *, of_pieces: int, left: int, new: int) -> _Told:
    """What the report and, where there are many of them, the user are told of the tokens without a vector."""
    facts = {**combined.facts, "without_vector": {"mean_of_pieces": of_pieces, "mean_row": left - of_pieces}}
    sentence = (
        f"{left} of {new} new tokens ({left / new:.1%}) have no vector: {of_pieces} are the mean of their pieces, "
        f"{left - of_pieces} the mean row"
    )
    return _Told(facts=facts, warnings=(*combined.warnings, *[sentence] * (left > _MANY * new)))
