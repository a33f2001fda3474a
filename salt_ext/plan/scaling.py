"""What the copied rows say of the new ones' lengths, and of their entries in the head's bias.

The lengths are those of the plan's `norm_anchors`, of all COPIED rows where it names none. By script means: the median
norm of the anchors in the row's group, of all where the group has fewer than 20.

By frequency means: with x = ln(1 + how often a token occurs in a text), the line y = a + b x is fitted by least squares
to the anchors that occur there, y being their rows' norms or their biases, and every REGRESSED row gets what the
line says of its own x, within the least and the largest y. Anchors that never occur there, special ones above
all, say nothing of the others. Without two frequencies to draw a line through, all get the mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from salt_ext.plan.blocks import row_blocks, rows_per_block
from salt_ext.plan.data import Norms

if TYPE_CHECKING:
    from salt_ext.plan.plan import TransferPlan


# Fewer of a script do not tell what its rows are like.
_FEWEST_OF_SCRIPT = 20


def copied_norm(plan: TransferPlan, old: Tensor) -> float:
    """Mean norm of the anchors' rows, each counted once; of all rows where there is none.

    Args:
        plan: whose rows.
        old: [source_rows, width].
    """
    _, sources = _anchors(plan)
    rows = sources.unique() if len(sources) else torch.arange(plan.source_rows)
    return float(_norms(old, rows).mean())


def wanted_norms(plan: TransferPlan, old: Tensor) -> Tensor:
    """The norm that each row of the new table should have: float64 [target_rows] on the CPU.

    Args:
        plan: whose norms are ROW, SCRIPT or FREQUENCY.
        old: [source_rows, width].
    """
    anchors, sources = _anchors(plan)
    if plan.norms is Norms.ROW or not len(anchors):
        return torch.full((plan.target_rows,), copied_norm(plan, old), dtype=torch.float64)
    norms = _norms(old, sources)
    return _by_script(plan, anchors, norms) if plan.norms is Norms.SCRIPT else _by_frequency(plan, anchors, norms)


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


def _by_script(plan: TransferPlan, anchors: Tensor, norms: Tensor) -> Tensor:
    assert plan.norm_groups is not None  # checked with the plan
    wanted = norms.new_full((plan.target_rows,), float(norms.quantile(0.5)))
    groups = plan.norm_groups[anchors]
    for group in groups.unique().tolist():
        own = norms[groups == group]
        if len(own) >= _FEWEST_OF_SCRIPT:
            wanted[plan.norm_groups == group] = own.quantile(0.5)
    return wanted


def _anchors(plan: TransferPlan) -> tuple[Tensor, Tensor]:
    """Target ids and source ids of the rows that tell of norms."""
    rows, sources = plan.copies()
    if plan.norm_anchors is None:
        return rows, sources
    return plan.norm_anchors, sources[torch.searchsorted(rows, plan.norm_anchors)]


def _norms(table: Tensor, rows: Tensor) -> Tensor:
    """float64 [n] on the CPU."""
    blocks = (rows[begin:end].to(table.device) for begin, end in row_blocks(len(rows), rows_per_block(table)))
    found = [table.index_select(0, block).double().norm(dim=1).cpu() for block in blocks]
    return torch.cat(found) if found else torch.empty(0, dtype=torch.float64)
