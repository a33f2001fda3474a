"""The moved model with other rows in the place of the new ones: what rows that know nothing of their token would cost.

mean    every new row is the mean of the copied rows of its table
random  every new row points anywhere, and is as long as the row in whose place it stands
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel

from salt_ext.comparison.slots import row_parameters

Control = Literal["mean", "random"]
_BLOCK = 4096


@contextmanager
def rows_replaced(model: PreTrainedModel, is_new: Tensor, is_copied: Tensor, control: Control) -> Iterator[None]:
    """Replaces the new rows of input table, untied head and head's bias while the block runs; then they are back.

    Args:
        model: the moved model.
        is_new: bool [rows], whose rows are replaced.
        is_copied: bool [rows], whose rows the mean is taken of.
        control: which.

    Raises:
        InputError: transformers knows none of the model's tables.
    """
    tables = row_parameters(model, rows=len(is_new))
    new, copied = is_new.nonzero()[:, 0], is_copied.nonzero()[:, 0]
    kept = [table.detach()[new.to(table.device)].clone() for table in tables]
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.no_grad():
            for table, rows in zip(tables, kept, strict=True):
                # Of a bias, a random direction would be a random sign.
                by_mean = control == "mean" or table.ndim == 1
                table[new.to(table.device)] = _mean(table, copied) if by_mean else _turned(rows, generator)
        yield
    finally:
        with torch.no_grad():
            for table, rows in zip(tables, kept, strict=True):
                table[new.to(table.device)] = rows


@contextmanager
def mean_inputs(model: PreTrainedModel, is_new: Tensor, is_copied: Tensor) -> Iterator[None]:
    """While the block runs, every new token is read as the mean of the copied ones; the head stays as it is."""
    table = model.get_input_embeddings()
    copied = is_copied.nonzero()[:, 0].to(model.device)
    with torch.inference_mode():
        total = sum(table(ids).double().sum(dim=0) for ids in copied.split(_BLOCK))
    mean = total / max(1, len(copied))
    new = is_new.to(model.device)

    def instead(_: torch.nn.Module, given: tuple[Tensor, ...], rows: Tensor) -> Tensor:
        return torch.where(new[given[0]][..., None], mean.to(rows), rows)

    handle = table.register_forward_hook(instead)
    try:
        yield
    finally:
        handle.remove()


def _mean(table: Tensor, copied: Tensor) -> Tensor:
    blocks = [table.detach()[ids].double().sum(dim=0) for ids in copied.to(table.device).split(_BLOCK)]
    mean: Tensor = (torch.stack(blocks).sum(dim=0) / max(1, len(copied))).to(table)
    return mean


def _turned(rows: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(rows.shape, generator=generator).to(rows)
    turned: Tensor = drawn * (rows.norm(dim=1) / drawn.norm(dim=1))[:, None]
    return turned
