"""The rows of a new table, made block by block as a plan says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.plan.blocks import row_blocks, rows_per_block
from salt_ext.plan.data import DensePart, Norms, Provenance
from salt_ext.plan.sampling import column_statistics, drawn_rows
from salt_ext.plan.scaling import anchor_norm
from salt_ext.runtime.device import move_used_rows

if TYPE_CHECKING:
    from salt_ext.plan.plan import TransferPlan

# Rows that are the mean.
_MEAN = (Provenance.AVERAGED, Provenance.PADDING)


def make_rows(
    plan: TransferPlan, old: Tensor, *, dtype: torch.dtype, head: bool, learned: DensePart | None, device: torch.device
) -> Tensor:
    """See `TransferPlan.apply`; `old` is [source_rows, width] and at least as wide a type as `dtype`."""
    new = old.new_empty(plan.target_rows, old.shape[1], dtype=dtype)
    _copy(plan, old, new)
    for rows, block in chain(_regressed(plan, old, head, learned is not None, device), _filled(plan, old)):
        made = block if learned is None else learned.add_to(block, rows, head=head)
        new[rows.to(new.device)] = made.to(new.dtype).to(new.device)
    return new


def _copy(plan: TransferPlan, old: Tensor, new: Tensor) -> None:
    rows, sources = plan.copies()
    for begin, end in row_blocks(len(rows), rows_per_block(old)):
        new[rows[begin:end].to(new.device)] = old.index_select(0, sources[begin:end].to(old.device)).to(new.dtype)


def _regressed(
    plan: TransferPlan, old: Tensor, head: bool, wide: bool, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of (target ids, their rows); with `wide` float32 at least, whatever the table is."""
    maps = None if plan.low_rank is None else plan.low_rank.map_of(old, device)
    factor = 1.0
    if plan.norms is Norms.FACTOR and old.shape[1] > 1:
        # A pass of its own: rows are rounded once, when their scale is known.
        norms = [block.double().norm(dim=1) for _, block in _sums(plan, old, maps, head, wide, device)]
        mean = float(torch.cat(norms).mean()) if norms else 0.0
        factor = anchor_norm(plan, old) / mean if mean > 0 else 1.0
    for rows, block in _sums(plan, old, maps, head, wide, device):
        yield rows, block if factor == 1.0 else block * factor


def _sums(
    plan: TransferPlan, old: Tensor, maps: Tensor | None, head: bool, wide: bool, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of (target ids, their rows before scaling) of all REGRESSED rows, float32 or wider."""
    rows = plan.rows(Provenance.REGRESSED)
    values = plan.values if plan.head_values is None or not head else plan.head_values
    lengths = plan.crow_indices.diff()
    chosen = torch.repeat_interleave(plan.provenance == Provenance.REGRESSED, lengths)
    crow = torch.cat([lengths.new_zeros(1), lengths[rows].cumsum(0)])
    col, values = plan.col_indices[chosen], values[chosen]
    if device != old.device:
        old, col = move_used_rows(old, col, device)
    summed = torch.promote_types(old.dtype, torch.float32)
    for begin, end in row_blocks(len(rows), rows_per_block(old)):
        first, last = int(crow[begin]), int(crow[end])
        part = (crow[begin : end + 1] - first, col[first:last], values[first:last])
        part_crow, part_col, part_values = (tensor.to(old.device) for tensor in part)
        # The sum has the table's dtype, so that a half table is rounded here unless more is to be done with it.
        if maps is None and plan.norms is Norms.KEPT and not wide:
            yield rows[begin:end], ops.csr_matmul(part_crow, part_col, part_values, old)
            continue
        used, places = part_col.unique(return_inverse=True)
        block = ops.csr_matmul(part_crow, places, part_values.to(summed), old[used].to(summed))
        if maps is not None:
            _add_low_rank(plan, rows[begin:end], block, maps)
        yield rows[begin:end], block


def _add_low_rank(plan: TransferPlan, rows: Tensor, block: Tensor, maps: Tensor) -> None:
    if plan.low_rank is None:
        return
    begin, end = torch.searchsorted(plan.low_rank.rows, torch.stack([rows[0], rows[-1] + 1])).tolist()
    places = torch.searchsorted(rows, plan.low_rank.rows[begin:end])
    block.index_add_(0, places.to(block.device), plan.low_rank.left[begin:end].to(maps) @ maps)


def _filled(plan: TransferPlan, old: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of (target ids, their rows, float64) of all that are a mean or drawn."""
    averaged, sampled = [plan.rows(kind) for kind in _MEAN], plan.rows(Provenance.SAMPLED)
    if not any(map(len, [*averaged, sampled])):
        return
    statistics = column_statistics(old, rows_per_block(old))
    for rows in averaged:
        for begin, end in row_blocks(len(rows), rows_per_block(old)):
            yield rows[begin:end], statistics[0].expand(end - begin, -1)
    yield from drawn_rows(sampled, old, statistics, draw=plan.draw, seed=plan.seed)
