"""Rows that are drawn at random, and the statistics that they are drawn by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from salt_ext.plan.data import Draw

# Part of what a plan means: another block would draw other numbers from the same seed.
_SAMPLE_BLOCK = 1024
# Of the mean variance, added to the covariance's diagonal: a table may have fewer rows than columns.
_JITTER = 1e-9


def column_statistics(table: Tensor, block: int) -> tuple[Tensor, Tensor]:
    """Mean and population standard deviation of each column, float64, in two passes of `block` rows at a time.

    NumPy adds row after row whatever the layout of the table or the number of threads, so the bits depend on neither.
    """
    mean, squares = np.zeros(table.shape[1]), np.zeros(table.shape[1])
    for begin in range(0, table.shape[0], block):
        mean += table[begin : begin + block].double().contiguous().cpu().numpy().sum(axis=0)
    mean /= table.shape[0]
    for begin in range(0, table.shape[0], block):
        rows = table[begin : begin + block].double().contiguous().cpu().numpy()
        squares += np.square(rows - mean).sum(axis=0)
    std = np.sqrt(squares / table.shape[0])
    return torch.from_numpy(mean).to(table.device), torch.from_numpy(std).to(table.device)


def drawn_rows(
    rows: Tensor, table: Tensor, statistics: tuple[Tensor, Tensor], *, draw: Draw, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Blocks of (target ids, float64 [block, width]).

    Args:
        rows: int64 [m], target ids.
        table: [source_rows, width], what is imitated.
        statistics: its `column_statistics`.
        draw: the distribution.
        seed: of the generator; equal widths get equal numbers.
    """
    if not len(rows):
        return
    mean, std = statistics
    factor = _cholesky(table, mean) if draw is Draw.MULTIVARIATE else None
    generator = torch.Generator().manual_seed(seed)
    for begin in range(0, len(rows), _SAMPLE_BLOCK):
        block = rows[begin : begin + _SAMPLE_BLOCK]
        z = torch.randn(_SAMPLE_BLOCK, table.shape[1], generator=generator, dtype=torch.float64)
        if draw is Draw.DIRECTION:
            models = torch.randint(table.shape[0], (_SAMPLE_BLOCK,), generator=generator)[: len(block)]
            length = table[models.to(table.device)].double().norm(dim=1, keepdim=True)
            z = z[: len(block)].to(table.device)
            yield block, z * (length / z.norm(dim=1, keepdim=True))
            continue
        z = z[: len(block)].to(table.device)
        yield block, mean + (std * z if factor is None else z @ factor.T)


def _cholesky(table: Tensor, mean: Tensor) -> Tensor:
    """The lower factor of the rows' covariance (population's, float64)."""
    covariance = mean.new_zeros(len(mean), len(mean))
    for begin in range(0, table.shape[0], _SAMPLE_BLOCK):
        centred = table[begin : begin + _SAMPLE_BLOCK].double() - mean
        covariance.addmm_(centred.T, centred)
    covariance /= table.shape[0]
    covariance.diagonal().add_(_JITTER * covariance.diagonal().mean() + torch.finfo(torch.float64).tiny)
    factor: Tensor = torch.linalg.cholesky(covariance)
    return factor
