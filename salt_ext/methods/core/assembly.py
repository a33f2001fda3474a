"""From a method's combinations of source rows to a complete plan: what every method leaves to the same rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from salt_ext.errors import InputError
from salt_ext.plan import DensePart, Draw, LowRank, Norms, Provenance, TransferPlan
from salt_ext.vocab import Anchors, Vocabulary

# Anchors whose row is part of the protocol, or the user's word: no method makes them anew.
_FIXED_KINDS = ("special", "mapped")


@dataclass(frozen=True, eq=False)
class Combinations:
    """Target rows that a method makes of source rows.

    Attributes:
        target_ids: int64 [n], each at most once; new tokens, and anchors that are text where the method does not copy.
        lengths: int64 [n], entries of each row; a row with neither entries nor a low-rank part is left to `fallback`.
        source_ids: int64 [sum of lengths], any order; one that comes twice in a row counts with both weights.
        values: float32 [sum of lengths], the weights.
        residual: float32 [n], ||q - wA|| / ||q||; None where the method has none.
        head_values: float32 [sum of lengths], weights for output tables; None where they are equal.
        low_rank: a dense term, see `LowRank`; its rows are among `target_ids`.
        dense: what an earlier distillation taught rows, see `DensePart`.
        norms: how the rows are scaled.
        norm_anchors: int64, ascending, target ids of the anchors whose norms tell how; None for all that are copied.
        fallback: what becomes of new tokens that the method does not make: SAMPLED or AVERAGED.
        draw: what SAMPLED rows are drawn from.
        facts: what the report shall tell of the method's own choices; JSON values.
        warnings: sentences for the user.
    """

    target_ids: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    source_ids: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    residual: npt.NDArray[np.float32] | None = None
    head_values: npt.NDArray[np.float32] | None = None
    low_rank: LowRank | None = None
    dense: DensePart | None = None
    norms: Norms = Norms.KEPT
    norm_anchors: npt.NDArray[np.int64] | None = None
    fallback: Provenance = Provenance.SAMPLED
    draw: Draw = Draw.INDEPENDENT
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def none(cls, *, fallback: Provenance, draw: Draw = Draw.INDEPENDENT) -> Combinations:
        """No row at all: every new token is left to `fallback`."""
        empty = np.empty(0, dtype=np.int64)
        return cls(empty, empty, empty, empty.astype(np.float32), fallback=fallback, draw=draw)


def new_ids(anchors: Anchors, target: Vocabulary) -> npt.NDArray[np.int64]:
    """Ids of the tokens that a method has to make: neither anchors nor special tokens nor holes; int64, ascending."""
    made = np.array([token is not None for token in target.tokens], dtype=bool)
    made[list(target.special_ids)] = False
    made[anchors.target_ids] = False
    return np.flatnonzero(made)


def assemble_plan(
    combined: Combinations,
    anchors: Anchors,
    target: Vocabulary,
    *,
    rows: int,
    source_rows: int,
    seed: int,
    metadata: Mapping[str, str] | None = None,
) -> TransferPlan:
    """The plan of all rows of the target.

    The method's rows are regressed, all other anchors copied. Special tokens without a partner and ids without a token
    get the mean row, since nothing is known of them; every other row is what the method leaves the rest to.

    Args:
        combined: the method's rows.
        anchors: what both vocabularies share.
        target: the target's vocabulary.
        rows: of the plan, at least `target.size`; those beyond the tokens are padding.
        source_rows: tokens of the source.
        seed: of the sampled rows.
        metadata: strings to keep with the plan.

    Raises:
        InputError: the method makes a row that is not its own: an anchor that is no text, or a row twice.
    """
    made = combined.lengths > 0
    if combined.low_rank is not None:
        made |= np.isin(combined.target_ids, combined.low_rank.rows.numpy())
    _check_owners(combined, anchors)
    copied = ~np.isin(anchors.target_ids, combined.target_ids[made])
    provenance = np.full(rows, combined.fallback, dtype=np.uint8)
    provenance[target.size :] = Provenance.PADDING
    provenance[[number for number, token in enumerate(target.tokens) if token is None]] = Provenance.AVERAGED
    provenance[list(target.special_ids)] = Provenance.AVERAGED
    provenance[combined.target_ids[made]] = Provenance.REGRESSED
    provenance[anchors.target_ids[copied]] = Provenance.COPIED
    residual = np.full(rows, np.nan, dtype=np.float32)
    if combined.residual is not None:
        residual[combined.target_ids] = combined.residual

    owners = np.concatenate([anchors.target_ids[copied], np.repeat(combined.target_ids, combined.lengths)])
    columns = np.concatenate([anchors.source_ids[copied], combined.source_ids])
    # One number per (row, column) orders the entries and shows the pairs that come twice.
    places, inverse = np.unique(owners * source_rows + columns, return_inverse=True)

    def merged(values: npt.NDArray[np.float32]) -> torch.Tensor:
        weights = np.concatenate([np.ones(int(copied.sum()), dtype=np.float32), values])
        return torch.from_numpy(np.bincount(inverse, weights=weights, minlength=len(places)).astype(np.float32))

    telling, counts = combined.norm_anchors, np.bincount(places // source_rows, minlength=rows)
    return TransferPlan(
        crow_indices=torch.from_numpy(np.concatenate([[0], counts.cumsum()]).astype(np.int64)),
        col_indices=torch.from_numpy(places % source_rows),
        values=merged(combined.values),
        provenance=torch.from_numpy(provenance),
        residual=torch.from_numpy(residual),
        source_rows=source_rows,
        seed=seed,
        metadata=dict(metadata or {}),
        head_values=None if combined.head_values is None else merged(combined.head_values),
        low_rank=combined.low_rank,
        dense=combined.dense,
        norms=combined.norms,
        norm_anchors=None if telling is None else torch.from_numpy(telling[provenance[telling] == Provenance.COPIED]),
        draw=combined.draw,
    )


def _check_owners(combined: Combinations, anchors: Anchors) -> None:
    ids = combined.target_ids
    if len(np.unique(ids)) != len(ids):
        raise InputError("the method makes a row twice")
    fixed = anchors.target_ids[np.isin(anchors.kinds, _FIXED_KINDS)]
    if clash := np.intersect1d(ids, fixed).tolist():
        raise InputError(f"the method makes row {clash[0]}, which is an anchor that has to be copied")
