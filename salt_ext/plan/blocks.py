"""Tables in blocks of rows, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

_BLOCK_BYTES = 64 << 20


def row_blocks(total: int, size: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of each block of `size` rows."""
    for begin in range(0, total, size):
        yield begin, min(begin + size, total)


def rows_per_block(table: Tensor) -> int:
    """Rows that take about `_BLOCK_BYTES` in float64, the widest that a block is worked on in."""
    return max(1, _BLOCK_BYTES // (8 * max(1, table.shape[1])))
