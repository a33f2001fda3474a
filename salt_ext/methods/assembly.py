"""From a method's combinations of source rows to a complete plan: what every method leaves to the same rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from salt_ext.plan import Provenance, TransferPlan
from salt_ext.vocab import Anchors, Vocabulary


@dataclass(frozen=True)
class Combinations:
    """Target rows that a method makes of source rows.

    Attributes:
        target_ids: int64 [n], each at most once, none of an anchor.
        lengths: int64 [n], entries of each row; a row without entries is left to be sampled.
        source_ids: int64 [sum of lengths], any order; one that comes twice in a row counts with both weights.
        values: float32 [sum of lengths], the weights.
        residual: float32 [n], ||q - wA|| / ||q||; nan where the method has none.
    """

    target_ids: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    source_ids: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]
    residual: npt.NDArray[np.float32]


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

    Anchors are copied, the method's rows regressed. Special tokens without a partner and ids without a token get the
    mean row, since nothing is known of them; every other row is sampled.

    Args:
        combined: the method's rows.
        anchors: what both vocabularies share.
        target: the target's vocabulary.
        rows: of the plan, at least `target.size`; those beyond the tokens are padding.
        source_rows: tokens of the source.
        seed: of the sampled rows.
        metadata: strings to keep with the plan.
    """
    provenance = np.full(rows, Provenance.SAMPLED, dtype=np.uint8)
    provenance[target.size :] = Provenance.PADDING
    provenance[[number for number, token in enumerate(target.tokens) if token is None]] = Provenance.AVERAGED
    provenance[list(target.special_ids)] = Provenance.AVERAGED
    provenance[combined.target_ids[combined.lengths > 0]] = Provenance.REGRESSED
    provenance[anchors.target_ids] = Provenance.COPIED
    residual = np.full(rows, np.nan, dtype=np.float32)
    residual[combined.target_ids] = combined.residual

    owners = np.concatenate([anchors.target_ids, np.repeat(combined.target_ids, combined.lengths)])
    columns = np.concatenate([anchors.source_ids, combined.source_ids])
    values = np.concatenate([np.ones(len(anchors), dtype=np.float32), combined.values])
    # One number per (row, column) orders the entries and shows the pairs that come twice.
    places, inverse = np.unique(owners * source_rows + columns, return_inverse=True)
    merged = np.bincount(inverse, weights=values, minlength=len(places)).astype(np.float32)
    counts = np.bincount(places // source_rows, minlength=rows)
    return TransferPlan(
        crow_indices=torch.from_numpy(np.concatenate([[0], counts.cumsum()]).astype(np.int64)),
        col_indices=torch.from_numpy(places % source_rows),
        values=torch.from_numpy(merged),
        provenance=torch.from_numpy(provenance),
        residual=torch.from_numpy(residual),
        source_rows=source_rows,
        seed=seed,
        metadata=dict(metadata or {}),
    )
