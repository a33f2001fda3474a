"""Tokens that a method does not make for want of a vector: the source's own pieces, where no paper says otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from salt_ext.methods.assembly import Combinations
from salt_ext.methods.material import Material
from salt_ext.methods.subword import cut_tokens
from salt_ext.plan import Provenance


def made_of_pieces(combined: Combinations, material: Material) -> Combinations:
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
    combined = replace(combined, rest=Provenance.AVERAGED)
    if not len(left) or material.source_tokenizer is None:
        return combined
    lengths, pieces = cut_tokens(replace(material, progress=None), left)
    values = np.repeat(1 / np.maximum(lengths, 1), lengths).astype(np.float32)
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
        facts={**combined.facts, "made_of_pieces": int((lengths > 0).sum())},
    )
