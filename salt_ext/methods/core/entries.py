"""Sparse matrices while they are put together: entries in any order, several for one place."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


class Entries(NamedTuple):
    """Entries of a matrix, in the order of its rows unless they have just been joined.

    Attributes:
        rows: int64 [n].
        columns: int64 [n].
        values: floating [n].
    """

    rows: Ints
    columns: Ints
    values: npt.NDArray[Any]

    def part(self, begin: int, end: int) -> Entries:
        """Those from one place to another."""
        return Entries(self.rows[begin:end], self.columns[begin:end], self.values[begin:end])

    def part_of(self, chosen: npt.NDArray[np.bool_]) -> Entries:
        """Those that are chosen, bool [n]."""
        return Entries(self.rows[chosen], self.columns[chosen], self.values[chosen])

    def merged(self) -> Entries:
        """Ordered, with one entry for each place, float64."""
        width = int(self.columns.max(initial=0)) + 1
        places, inverse = np.unique(self.rows * width + self.columns, return_inverse=True)
        return Entries(places // width, places % width, np.bincount(inverse, self.values, minlength=len(places)))


def joined(parts: list[Entries]) -> Entries:
    """All entries, one part behind the other."""
    return Entries(*(np.concatenate(column) for column in zip(*parts, strict=True)))
