"""What the methods share that explain a new token by anchors: which anchors can serve, and the walk over blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.errors import InputError
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.inputs import MethodInputs
from salt_ext.vocab import Anchors

MINIMUM_KEYS = 2
# Rows per call of the operators: enough work for all threads or a whole GPU, often enough for a progress bar. A row's
# bits do not depend on it.
_BLOCK = {"cpu": 2048, "cuda": 16384}
# On a GPU the operators keep their own form of the tables beside them.
_TABLES_ON_DEVICE = 2


class SparseRows(NamedTuple):
    """Rows of one block, on any device.

    Attributes:
        crow: int64 [n + 1].
        col: int64 [nnz], places among the keys.
        values: float32 [nnz].
        residual: float32 [n]; None where the method has none.
    """

    crow: Tensor
    col: Tensor
    values: Tensor
    residual: Tensor | None = None


@dataclass(frozen=True)
class Neighbours:
    """Which tokens explain which.

    Attributes:
        new: int64 [n], target ids to make, those that every table has a row for.
        key_targets: int64 [K], target ids of the anchors that explain them; empty where others do, too.
        key_sources: int64 [K], source ids of what explains them.
    """

    new: npt.NDArray[np.int64]
    key_targets: npt.NDArray[np.int64]
    key_sources: npt.NDArray[np.int64]


def find_neighbours(
    material: MethodInputs, *tables: Tensor, keys: Tensor, method: str, row: str = "an auxiliary vector"
) -> Neighbours:
    """Leaves out tokens without a row.

    Args:
        material: of the method.
        tables: [target.size or more, any], each of which a new token needs a row of that is not zero.
        keys: one of them, which an anchor needs a row of that is not zero.
        method: its name, for the message.
        row: what a row of `keys` is called, likewise; where vectors stand in for donor rows, it is one of them.

    Raises:
        InputError: fewer than two anchors can serve.
    """
    anchors, size = material.anchors, material.target.size
    new = material.new
    for table in tables:
        new = new[nonzero_rows(table, size)[new]]
    usable = material.text_anchors & nonzero_rows(keys, size)[anchors.target_ids]
    if len(new) and usable.sum() < MINIMUM_KEYS:
        raise too_few(anchors, int(usable.sum()), "an auxiliary vector" if material.stands_in else row, method)
    return Neighbours(new, anchors.target_ids[usable], anchors.source_ids[usable])


def too_few(anchors: Anchors, usable: int, row: str, method: str) -> InputError:
    """What is raised where anchors are not enough.

    Args:
        anchors: all that there are.
        usable: how many of them can serve.
        row: what those have.
        method: its name.
    """
    found = ", ".join(f"{count} {kind}" for kind, count in anchors.counts().items()) or "none at all"
    return InputError(
        f"source and donor share too few tokens: {len(anchors)} anchors ({found}), of which {usable} are text with "
        f"{row}; {method} needs at least {MINIMUM_KEYS}"
    )


def text_keys(material: MethodInputs, made: npt.NDArray[np.int64], queries: Tensor, sources: Tensor) -> Neighbours:
    """Every source token that is text and has a vector explains others, whether the target shares it or not.

    Args:
        material: of the method.
        made: int64 [m], ascending, the target ids to make; those without a vector are left out.
        queries: floating [target.size or more, D], vectors of the target's tokens.
        sources: floating [source.size or more, D], vectors of the source's tokens.
    """
    usable = nonzero_rows(sources, material.source.size)
    usable[list(material.source.byte_ids)] = False
    made = made[nonzero_rows(queries, material.target.size)[made]]
    return Neighbours(made, np.empty(0, dtype=np.int64), np.flatnonzero(usable))


def combine_blocks(
    material: MethodInputs,
    neighbours: Neighbours,
    prepare: Callable[[torch.device], Callable[[Tensor], SparseRows]],
    *,
    row_bytes: int,
) -> Combinations:
    """Makes the new rows block by block where the material's placement says.

    Args:
        material: of the method.
        neighbours: which tokens explain which.
        prepare: moves what every block needs to a device, and returns what makes the rows of int64 [n] target ids.
        row_bytes: what one key or new token takes on the device.
    """

    def run(device: torch.device) -> Combinations:
        make = prepare(device)
        size, new = _BLOCK[device.type], neighbours.new
        made = []
        for begin in range(0, len(new), size):
            block = torch.from_numpy(new[begin : begin + size])
            rows = make(block)
            made.append(SparseRows(*(None if part is None else part.cpu() for part in rows)))  # type: ignore[arg-type]
            if material.progress is not None:
                material.progress(begin + len(block), len(new))
        return _joined(neighbours, made)

    moved = (len(neighbours.key_sources) + min(len(neighbours.new), _BLOCK["cuda"])) * row_bytes
    return material.placement.run("regression", run, needed=_TABLES_ON_DEVICE * moved)


def with_residual(rows: SparseRows, queries: Tensor, keys: Tensor) -> SparseRows:
    """The rows with ||q - wA|| / ||q|| of each.

    Args:
        rows: weights w of the keys.
        queries: float32 [n, h], q, none of them zero.
        keys: float32 [K, h], A.
    """
    missing = queries - ops.csr_matmul(rows.crow, rows.col, rows.values, keys)
    return rows._replace(residual=missing.norm(dim=1) / queries.norm(dim=1))


def nonzero_rows(table: Tensor, rows: int) -> npt.NDArray[np.bool_]:
    """bool [rows], which of the first rows of a table are not zero."""
    size = _BLOCK["cpu"]
    blocks = (table[begin : min(begin + size, rows)] for begin in range(0, rows, size))
    return np.concatenate([np.empty(0, dtype=bool), *((block.abs().amax(dim=1) > 0).numpy() for block in blocks)])


def _joined(neighbours: Neighbours, made: list[SparseRows]) -> Combinations:
    empty = np.empty(0, dtype=np.int64)
    combined = Combinations(
        target_ids=neighbours.new,
        lengths=np.concatenate([empty, *(rows.crow.diff().numpy() for rows in made)]),
        source_ids=neighbours.key_sources[np.concatenate([empty, *(rows.col.numpy() for rows in made)])],
        values=np.concatenate([empty.astype(np.float32), *(rows.values.numpy() for rows in made)]),
    )
    residuals = [rows.residual.numpy() for rows in made if rows.residual is not None]
    return replace(combined, residual=np.concatenate(residuals)) if residuals else combined
