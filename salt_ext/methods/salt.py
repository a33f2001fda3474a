"""SALT (Lee et al. 2025, section 3): each new token through its own regression onto the tokens that both share.

For a new token t with auxiliary vector f(t) and donor row q = E_t[t]: the support N holds the shared tokens with a
non-zero weight in sparsemax(cos(f(t), f(S))), and with A = E_t[N], B = E_s[N] the new row is q X for the minimum-norm
least-squares map X = pinv(A) B. Since q pinv(A) B = w B with w = q pinv(A), the weights w need neither X nor the
source's table: one plan serves every table of the source.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.device import Placement
from salt_ext.errors import InputError
from salt_ext.methods.assembly import Combinations, assemble_plan, new_ids
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.vocab import Anchors, Vocabulary

# Bytes that may cut a character, and special tokens, say nothing of a meaning: they are copied but explain no others.
KEY_KINDS = ("exact", "case", "loose")
MINIMUM_KEYS = 2
# Fewer than this are a reason to warn.
_DIMENSIONS_PER_NEIGHBOUR = 4
# Rows per call of the operators: enough work for all threads or a whole GPU, often enough for a progress bar. A row's
# bits do not depend on it.
_BLOCK = {"cpu": 2048, "cuda": 16384}
# On a GPU the operators keep their own form of the tables beside them.
_TABLES_ON_DEVICE = 2


@dataclass(frozen=True)
class SaltOptions:
    """The numbers of the regression.

    Attributes:
        temperature: of the sparsemax, above 0; a small one leaves few neighbours.
        rcond: singular values at or below rcond times the largest count as zero; None for max(k, h) * eps.
        ridge: this times the mean of the Gram matrix's diagonal is added to it; 0 is the paper's letter.

    Raises:
        InputError: a number is not finite or out of range.
    """

    temperature: float = 1.0
    rcond: float | None = None
    ridge: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"temperature is {self.temperature}, expected a finite number above 0")
        for name, value in (("rcond", self.rcond), ("ridge", self.ridge)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value}, expected a finite number of at least 0")


def salt_plan(
    auxiliary: Tensor,
    donor: Tensor,
    anchors: Anchors,
    target: Vocabulary,
    *,
    source_rows: int,
    rows: int | None = None,
    options: SaltOptions | None = None,
    seed: int = 0,
    metadata: Mapping[str, str] | None = None,
    placement: Placement | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TransferPlan:
    """Builds the plan of the whole target vocabulary; the source's table is not needed.

    Anchors are copied. New tokens with an auxiliary vector and a donor row that is not zero are regressed; without
    either they are sampled; new special tokens and ids without a token get the mean row.

    Args:
        auxiliary: floating [at least target.size, D], the static vector of each target token; a zero row means none.
        donor: floating [at least target.size, h], the donor's input table.
        anchors: the tokens that both vocabularies share.
        target: the target's vocabulary.
        source_rows: tokens of the source.
        rows: of the plan, padding rows included; None for as many as the target has tokens.
        options: numbers of the regression.
        seed: of the sampled rows.
        metadata: strings to keep with the plan.
        placement: where the ops run, the CPU if not given; tables and plan lie on the CPU.
        progress: told (tokens done, tokens in all).

    Raises:
        InputError: a table has too few rows, or fewer than two anchors can serve the regression.
    """
    options = options or SaltOptions()
    for name, table in (("auxiliary vectors", auxiliary), ("donor table", donor)):
        if table.ndim != 2 or table.shape[0] < target.size:
            raise InputError(f"{name}: found shape {list(table.shape)}, expected [{target.size} or more, dimensions]")
    has_vector, has_row = _nonzero_rows(auxiliary, target.size), _nonzero_rows(donor, target.size)
    new = new_ids(anchors, target)
    new = new[has_vector[new] & has_row[new]]
    keys = np.isin(anchors.kinds, KEY_KINDS) & has_vector[anchors.target_ids]
    if len(new) and keys.sum() < MINIMUM_KEYS:
        raise InputError(_too_few(anchors, int(keys.sum())))
    key_targets, key_sources = anchors.target_ids[keys], anchors.source_ids[keys]

    def regress(device: torch.device) -> Combinations:
        return _regress(auxiliary, donor, new, key_targets, key_sources, options, device, progress)

    row_bytes = auxiliary.shape[1] * auxiliary.element_size() + donor.shape[1] * torch.float32.itemsize
    moved = (len(key_targets) + min(len(new), _BLOCK["cuda"])) * row_bytes
    combined = (placement or Placement()).run("regression", regress, needed=_TABLES_ON_DEVICE * moved)
    return assemble_plan(
        combined, anchors, target, rows=rows or target.size, source_rows=source_rows, seed=seed, metadata=metadata
    )


def fit_warnings(plan: TransferPlan, width: int, options: SaltOptions) -> list[str]:
    """What the fit itself gives reason to doubt, one sentence each.

    The fewer dimensions remain for each neighbour, the more of the fit is noise: with a median of 91 neighbours in 96
    dimensions, small models that we moved were far worse than with random rows, and well again with a ridge of 0.1.

    Args:
        plan: the finished plan.
        width: dimensions of the donor's table.
        options: what it was made with.
    """
    sizes = plan.crow_indices.diff()[plan.rows(Provenance.REGRESSED)]
    if options.ridge > 0 or not len(sizes) or _DIMENSIONS_PER_NEIGHBOUR * int(sizes.median()) < width:
        return []
    return [
        f"a new token has {int(sizes.median())} neighbours (median) for the donor's {width} dimensions: a fit this "
        "tight follows noise; --ridge 0.1 or a lower --temperature helps"
    ]


def _regress(
    auxiliary: Tensor,
    donor: Tensor,
    new: npt.NDArray[np.int64],
    key_targets: npt.NDArray[np.int64],
    key_sources: npt.NDArray[np.int64],
    options: SaltOptions,
    device: torch.device,
    progress: Callable[[int, int], None] | None,
) -> Combinations:
    key_rows = torch.from_numpy(key_targets)
    # One key more or less changes a minimum-norm fit visibly, so near-ties at the sparsemax's threshold are decided in
    # float64: the same support on every machine, for a third more of the search's time.
    key_vectors, key_donors = auxiliary[key_rows].to(device), donor[key_rows].float().to(device)
    size = _BLOCK[device.type]
    lengths, columns, values, residuals = [], [], [], []
    for begin in range(0, len(new), size):
        block = torch.from_numpy(new[begin : begin + size])
        crow, col, _ = ops.cosine_sparsemax(auxiliary[block].to(device), key_vectors, temperature=options.temperature)
        queries = donor[block].float().to(device)
        weights = ops.lstsq_weights(crow, col, queries, key_donors, ridge=options.ridge, rcond=options.rcond)
        missing = queries - ops.csr_matmul(crow, col, weights, key_donors)
        lengths.append(crow.diff().cpu().numpy())
        columns.append(col.cpu().numpy())
        values.append(weights.cpu().numpy())
        residuals.append((missing.norm(dim=1) / queries.norm(dim=1)).cpu().numpy())
        if progress is not None:
            progress(begin + len(block), len(new))
    empty = np.empty(0, dtype=np.int64)
    return Combinations(
        target_ids=new,
        lengths=np.concatenate([empty, *lengths]),
        source_ids=key_sources[np.concatenate([empty, *columns])],
        values=np.concatenate([empty.astype(np.float32), *values]),
        residual=np.concatenate([empty.astype(np.float32), *residuals]),
    )


def _nonzero_rows(table: Tensor, rows: int) -> npt.NDArray[np.bool_]:
    size = _BLOCK["cpu"]
    blocks = (table[begin : min(begin + size, rows)] for begin in range(0, rows, size))
    return np.concatenate([np.empty(0, dtype=bool), *((block.abs().amax(dim=1) > 0).numpy() for block in blocks)])


def _too_few(anchors: Anchors, usable: int) -> str:
    found = ", ".join(f"{count} {kind}" for kind, count in anchors.counts().items()) or "none at all"
    return (
        f"source and donor share too few tokens: {len(anchors)} anchors ({found}), of which {usable} are text with an "
        f"auxiliary vector; SALT needs at least {MINIMUM_KEYS}"
    )
