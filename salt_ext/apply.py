"""One plan, every tensor of a checkpoint that the vocabulary indexes: the input table, a head, its bias, and others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from salt_ext.checkpoint import Checkpoint, NewTensor
from salt_ext.device import Placement
from salt_ext.plan import TransferPlan

# What a plan takes on a GPU beside the table: a block of sums, and their weights.
_BLOCKS_ON_DEVICE = 256 << 20


def read_rows(checkpoint: Checkpoint, name: str, *, rows: int) -> Tensor:
    """A tensor of the checkpoint with the vocabulary as its first dimension, in its own dtype.

    Args:
        checkpoint: the source.
        name: one of its vocabulary-indexed tensors.
        rows: how many rows are needed. A tensor that has fewer is continued by its row 0, which the families that have
            such tensors read for every id beyond (see `VocabularyTensors.others`).

    Returns:
        [at least rows, ...].
    """
    table = checkpoint.read(name).movedim(checkpoint.vocabulary_tensors().dims[name], 0)
    missing = rows - table.shape[0]
    return table if missing <= 0 else torch.cat([table, table[:1].expand(missing, *table.shape[1:])])


def new_tensors(
    checkpoint: Checkpoint,
    plan: TransferPlan,
    *,
    dtype: torch.dtype | None = None,
    placement: Placement | None = None,
    seen: Callable[[str, Tensor], None] | None = None,
) -> dict[str, NewTensor]:
    """What replaces the vocabulary-indexed tensors of a checkpoint; nothing is computed before it is asked for.

    Args:
        checkpoint: the source, or a sibling of it with the same vocabulary.
        plan: how its rows are made.
        dtype: of the new tensors; None for each one's own.
        placement: where the plan's weighted sums are taken, the CPU if not given; the new tensors lie on the CPU.
        seen: told (name, new tensor with the vocabulary as its first dimension) of each as it is made.
    """
    dims = checkpoint.vocabulary_tensors().dims
    made = {}
    for name in checkpoint.vocabulary_tensors().names:
        shape = list(checkpoint.tensors[name].shape)
        shape[dims[name]] = plan.target_rows
        make = partial(_make, checkpoint, plan, name, dtype, placement or Placement(), seen)
        made[name] = NewTensor(tuple(shape), make)
    return made


def _make(
    checkpoint: Checkpoint,
    plan: TransferPlan,
    name: str,
    dtype: torch.dtype | None,
    placement: Placement,
    seen: Callable[[str, Tensor], None] | None,
) -> Tensor:
    rows = read_rows(checkpoint, name, rows=plan.source_rows)
    width = torch.promote_types(rows.dtype, dtype or rows.dtype).itemsize
    needed = rows.numel() * width + _BLOCKS_ON_DEVICE
    tensors = checkpoint.vocabulary_tensors()
    # A bias that the vocabulary indexes belongs to the head.
    head = name == tensors.head or rows.ndim == 1
    made = placement.run("weighted sums", partial(_apply, plan, rows, head, dtype), needed=needed)
    del rows
    if seen is not None:
        seen(name, made)
    return made.movedim(0, tensors.dims[name]).contiguous()


def _apply(plan: TransferPlan, rows: Tensor, head: bool, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    return plan.apply(rows, head=head, dtype=dtype, device=device)
