"""One plan, every tensor of a checkpoint that the vocabulary indexes: the input table, a head, its bias, and others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from salt_ext.checkpoint import Checkpoint, NewTensor
from salt_ext.plan import TransferPlan
from salt_ext.runtime.device import Placement

# What a plan takes on a GPU beside the table: a block of sums, and their weights.
_BLOCKS_ON_DEVICE = 256 << 20


def read_rows(checkpoint: Checkpoint, name: str, *, rows: int) -> Tensor:
    """A tensor of the checkpoint with the vocabulary as its first dimension, in its own dtype.

    Args:
        checkpoint: the source.
        name: one of its vocabulary-indexed tensors.
        rows: how many rows are needed. A tensor that has fewer than the vocabulary is continued by its row 0, which the
            families that have such tensors read for every id beyond (see `VocabularyTensors.others`); one that only
            lacks the extra rows of the input table (a head: see `VocabularyTensors.extra`) by its mean row, which gives
            tokens that the source cannot write no more than an average logit.

    Returns:
        [at least rows, ...].
    """
    table = checkpoint.read(name).movedim(checkpoint.vocabulary_tensors().dims[name], 0)
    missing = rows - table.shape[0]
    if missing <= 0:
        return table
    outputs = table.is_floating_point() and table.shape[0] >= checkpoint.vocabulary_rows
    filling = table.double().mean(0, keepdim=True).to(table.dtype) if outputs else table[:1]
    return torch.cat([table, filling.expand(missing, *table.shape[1:])])


def new_tensors(
    checkpoint: Checkpoint,
    plan: TransferPlan,
    *,
    dtype: torch.dtype | None = None,
    placement: Placement | None = None,
    seen: Callable[[str, Tensor], None] | None = None,
) -> dict[str, NewTensor]:
    """What replaces the vocabulary-indexed tensors of a checkpoint; nothing is computed before it is asked for.

    Rows that a family has behind its vocabulary's are behind the new vocabulary's as they were.

    Args:
        checkpoint: the source, or a sibling of it with the same vocabulary.
        plan: how its rows are made.
        dtype: of the new tensors; None for each one's own.
        placement: where the plan's weighted sums are taken, the CPU if not given; the new tensors lie on the CPU.
        seen: told (name, new tensor with the vocabulary as its first dimension) of each floating one as it is made.
    """
    tensors = checkpoint.vocabulary_tensors()
    made = {}
    for name in tensors.names:
        shape = list(checkpoint.tensors[name].shape)
        shape[tensors.dims[name]] = plan.target_rows + tensors.extra.get(name, 0)
        make = partial(_make, checkpoint, plan, name, dtype, placement or Placement(), seen)
        made[name] = NewTensor(tuple(shape), make)
    return made


def looked_up(plan: TransferPlan, table: Tensor) -> Tensor:
    """An integer table for the new tokens: no sum of its rows has a meaning, so each new row is one of the old ones.

    A token takes the row of the source token that has the largest weight in its own row (of equal ones the lowest id),
    a copied token its source's. A token without weights (its row is drawn or a mean) takes the row of its own id modulo
    the source's tokens, which spreads such tokens as evenly as the source's are.

    Args:
        plan: how rows are made.
        table: integer [at least source_rows, ...].

    Returns:
        [target_rows, ...] in the table's dtype.
    """
    chosen = torch.arange(plan.target_rows) % plan.source_rows
    owners = torch.repeat_interleave(torch.arange(plan.target_rows), plan.crow_indices.diff())
    # The last of a row's entries stays: the heaviest, and of equal ones the first.
    order = torch.argsort(plan.values.abs(), stable=True, descending=True).flip(0)
    order = order[torch.argsort(owners[order], stable=True)]
    last = plan.crow_indices[1:] - 1
    filled = plan.crow_indices.diff() > 0
    chosen[filled] = plan.col_indices[order[last[filled]]]
    return table[chosen]


def _make(
    checkpoint: Checkpoint,
    plan: TransferPlan,
    name: str,
    dtype: torch.dtype | None,
    placement: Placement,
    seen: Callable[[str, Tensor], None] | None,
) -> Tensor:
    rows = read_rows(checkpoint, name, rows=plan.source_rows)
    tensors = checkpoint.vocabulary_tensors()
    if rows.is_floating_point():
        width = torch.promote_types(rows.dtype, dtype or rows.dtype).itemsize
        needed = rows.numel() * width + _BLOCKS_ON_DEVICE
        # A bias that the vocabulary indexes belongs to the head.
        head = name == tensors.head or rows.ndim == 1
        made = placement.run("weighted sums", partial(_apply, plan, rows, head, dtype), needed=needed)
    else:
        made = looked_up(plan, rows)
    if extra := tensors.extra.get(name, 0):
        begin = checkpoint.vocabulary_rows
        made = torch.cat([made, rows[begin : begin + extra].to(made.dtype)])
    del rows
    if seen is not None and made.is_floating_point():
        seen(name, made)
    return made.movedim(0, tensors.dims[name]).contiguous()


def _apply(plan: TransferPlan, rows: Tensor, head: bool, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    return plan.apply(rows, head=head, dtype=dtype, device=device)
