"""What the copied rows say of the new ones' lengths, and of their entries in the head's bias.

By frequency means: with x = ln(1 + how often a token occurs in a text), the line y = a + b x is fitted by least squares
to the COPIED tokens that occur there, y being their rows' norms or their biases, and every REGRESSED row gets what the
line says of its own x, within the least and the largest y. Copied tokens that never occur there, special ones above
all, say nothing of the others. Without two frequencies to draw a line through, all get the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from salt_ext.plan.blocks import row_blocks, rows_per_block
from salt_ext.plan.parts import Norms

if TYPE_CHECKING:
    from salt_ext.plan.plan import TransferPlan


def copied_norm(plan: TransferPlan, old: Tensor) -> float:
    """Mean norm of the source rows that are copied, each counted once; of all rows where none is.

    Args:
        plan: whose rows.
        old: [source_rows, width].
    """
    _, sources = plan.copies()
    rows = sources.unique() if len(sources) else torch.arange(plan.source_rows)
    return float(_norms(old, rows).mean())


def wanted_norms(plan: TransferPlan, old: Tensor) -> Tensor:
    """The norm that each row of the new table should have: float64 [target_rows] on the CPU.

    Args:
        plan: whose norms are ROW or FREQUENCY.
        old: [source_rows, width].
    """
    if plan.norms is Norms.ROW:
        return torch.full((plan.target_rows,), copied_norm(plan, old), dtype=torch.float64)
    copied, sources = plan.copies()
    return _by_frequency(plan, copied, _norms(old, sources))


def bias_by_frequency(plan: TransferPlan, old: Tensor) -> Tensor:
    """The bias that each token should have: float64 [target_rows] on the CPU.

    Args:
        plan: with `log_counts`.
        old: [source_rows], the head's bias.
    """
    copied, sources = plan.copies()
    return _by_frequency(plan, copied, old.cpu()[sources].double())


def _by_frequency(plan: TransferPlan, copied: Tensor, values: Tensor) -> Tensor:
    assert plan.log_counts is not None  # a plan that goes by frequency has been checked for them
    counts = plan.log_counts.double()
    seen = counts[copied] > 0
    x, y = counts[copied][seen], values[seen]
    if not len(y):
        return values.new_full((plan.target_rows,), float(values.mean()) if len(values) else 0.0)
    spread = x - x.mean()
    slope = (spread @ y) / (spread @ spread) if bool((spread != 0).any()) else x.new_zeros(())
    line: Tensor = y.mean() + slope * (counts - x.mean())
    return line.clamp(y.min(), y.max())


def _norms(table: Tensor, rows: Tensor) -> Tensor:
    """float64 [n] on the CPU."""
    blocks = (rows[begin:end].to(table.device) for begin, end in row_blocks(len(rows), rows_per_block(table)))
    found = [table.index_select(0, block).double().norm(dim=1).cpu() for block in blocks]
    return torch.cat(found) if found else torch.empty(0, dtype=torch.float64)
