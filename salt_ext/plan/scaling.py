"""How long new rows are to be: what the rows of a plan's `norm_anchors` say, of all COPIED rows where it names none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from salt_ext.plan.blocks import row_blocks, rows_per_block

if TYPE_CHECKING:
    from salt_ext.plan.plan import TransferPlan


def anchor_norm(plan: TransferPlan, old: Tensor) -> float:
    """Mean norm of the anchors' rows, each counted once; of all rows where there is none.

    Args:
        plan: whose rows.
        old: [source_rows, width].
    """
    rows, sources = plan.copies()
    if plan.norm_anchors is not None:
        sources = sources[torch.searchsorted(rows, plan.norm_anchors)]
    wanted = sources.unique() if len(sources) else torch.arange(plan.source_rows)
    blocks = (wanted[begin:end].to(old.device) for begin, end in row_blocks(len(wanted), rows_per_block(old)))
    return float(torch.cat([old.index_select(0, block).double().norm(dim=1).cpu() for block in blocks]).mean())
