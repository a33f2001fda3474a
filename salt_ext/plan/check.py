"""Whether the parts of a plan fit each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from salt_ext.errors import InputError
from salt_ext.plan.data import Provenance

if TYPE_CHECKING:
    from salt_ext.plan.plan import TransferPlan

DTYPES = {
    "crow_indices": torch.int64,
    "col_indices": torch.int64,
    "values": torch.float32,
    "provenance": torch.uint8,
    "residual": torch.float32,
}
# What the header of a plan's file says itself.
RESERVED = ("format", "version", "seed", "source_rows", "draw", "norms")


def check_plan(plan: TransferPlan) -> None:
    """See `TransferPlan` for what must hold.

    Raises:
        InputError: something does not.
    """
    _check_tensors(plan)
    if plan.source_rows < 1 or not 0 <= plan.seed < 2**63:
        raise InputError(f"source_rows is {plan.source_rows} and seed is {plan.seed}, expected >= 1 and 0 to 2**63 - 1")
    if clash := [name for name in RESERVED if name in plan.metadata]:
        raise InputError(f"metadata has the key {clash[0]!r}, which the plan's own header uses")
    _check_csr(plan)
    if plan.low_rank is not None:
        _check_range(plan.low_rank.columns, plan.source_rows, "low-rank part: columns", "the source's rows")
        _check_range(plan.low_rank.rows, plan.target_rows, "low-rank part: rows", "the target's rows")
    _check_provenance(plan)
    if plan.dense is not None:
        _check_range(plan.dense.rows, plan.target_rows, "dense part: rows", "the target's rows")
        if not bool(plan.is_new[plan.dense.rows].all()):
            raise InputError("only rows with provenance REGRESSED, AVERAGED or SAMPLED can have a dense part")


def _check_tensors(plan: TransferPlan) -> None:
    target_rows, nnz = plan.provenance.numel(), plan.col_indices.numel()
    lengths = {"crow_indices": target_rows + 1, "col_indices": nnz, "values": nnz, "residual": target_rows}
    wanted = {name: (getattr(plan, name), dtype, lengths.get(name, target_rows)) for name, dtype in DTYPES.items()}
    if plan.head_values is not None:
        wanted["head_values"] = (plan.head_values, torch.float32, nnz)
    if plan.norm_anchors is not None:
        wanted["norm_anchors"] = (plan.norm_anchors, torch.int64, plan.norm_anchors.numel())
    for name, (tensor, dtype, length) in wanted.items():
        if tensor.dtype != dtype or tensor.shape != (length,) or tensor.device.type != "cpu":
            found = f"{tensor.dtype} {list(tensor.shape)} on {tensor.device}"
            raise InputError(f"{name} is {found}, expected {dtype} [{length}] on cpu")
        if name in ("values", "head_values") and not bool(tensor.isfinite().all()):
            raise InputError(f"{name} has entries that are not finite")


def _check_csr(plan: TransferPlan) -> None:
    crow, col = plan.crow_indices, plan.col_indices
    nnz = col.numel()
    if crow[0] != 0 or crow[-1] != nnz or bool((crow.diff() < 0).any()):
        raise InputError(f"crow_indices must rise from 0 to {nnz}, the length of col_indices")
    _check_range(col, plan.source_rows, "col_indices", "the source's rows")
    if nnz:
        row_starts = torch.zeros(nnz + 1, dtype=torch.bool)
        row_starts[crow] = True
        if not bool(((col[1:] > col[:-1]) | row_starts[1:-1]).all()):
            raise InputError("col_indices must ascend strictly within each row")


def _check_range(numbers: Tensor, bound: int, name: str, what: str) -> None:
    if bool(((numbers < 0) | (numbers >= bound)).any()):
        raise InputError(f"{name} must lie between 0 and {bound - 1}, {what}")


def _check_provenance(plan: TransferPlan) -> None:
    kinds, counts = plan.provenance, plan.crow_indices.diff()
    if bool((kinds > max(Provenance)).any()):
        raise InputError(f"provenance must lie between 0 and {max(Provenance):d}")
    copied = kinds == Provenance.COPIED
    firsts = plan.crow_indices[:-1][copied]
    if bool((counts[copied] != 1).any()) or bool((plan.values[firsts] != 1).any()):
        raise InputError("a row with provenance COPIED must have exactly one entry, of weight 1")
    if (anchors := plan.norm_anchors) is not None:
        _check_range(anchors, plan.target_rows, "norm_anchors", "the target's rows")
        if bool((anchors.diff() <= 0).any()) or not bool(copied[anchors].all()):
            raise InputError("norm_anchors must ascend strictly and name rows with provenance COPIED")
    dense = torch.zeros(plan.target_rows, dtype=torch.bool)
    if plan.low_rank is not None:
        dense[plan.low_rank.rows] = True
    regressed = kinds == Provenance.REGRESSED
    if bool((regressed & (counts == 0) & ~dense).any()):
        raise InputError("a row with provenance REGRESSED must have entries or a low-rank part")
    if bool((dense & ~regressed).any()):
        raise InputError("only rows with provenance REGRESSED can have a low-rank part")
    if bool((counts[~copied & ~regressed] != 0).any()):
        raise InputError("a row with provenance AVERAGED, SAMPLED or PADDING must have no entries")
