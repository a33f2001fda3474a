"""By what tokens resemble each other: their auxiliary vectors, their donor rows, or both alike."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from salt_ext.methods.core.inputs import MethodInputs

SIMILARITIES = ("auxiliary", "donor", "mean")


@dataclass(frozen=True, eq=False)
class Similarity:
    """Vectors whose cosine is the similarity.

    With two tables a token's vector is both of its rows one behind the other, each of length 1: the cosine of two such
    vectors is the mean of the two cosines. A token without one of the two has zeros there, and is ranked by the other.

    Attributes:
        tables: floating [target.size or more, any], one or two.
        required: the one of them without whose row a token takes no part.
    """

    tables: tuple[Tensor, ...]
    required: Tensor

    @classmethod
    def of(cls, material: MethodInputs, kind: str) -> Similarity:
        """One of `SIMILARITIES`; only the tables that it needs are read.

        Raises:
            InputError: a table has too few rows.
        """
        if kind == "auxiliary":
            return cls((material.auxiliary,), material.auxiliary)
        if kind == "donor":
            return cls((material.donor,), material.donor)
        return cls((material.auxiliary, material.donor), material.donor)

    @property
    def row_bytes(self) -> int:
        """What one token's vector takes."""
        width = sum(table.shape[1] for table in self.tables)
        return width * (torch.float32.itemsize if len(self.tables) > 1 else self.tables[0].element_size())

    def vectors(self, ids: Tensor, device: torch.device) -> Tensor:
        """Those of some tokens, [n, D] on the device, in the dtype of the one table, float32 of two.

        Args:
            ids: int64 [n], target ids.
        """
        rows = [table[ids].to(device) for table in self.tables]
        return rows[0] if len(rows) == 1 else torch.cat([_unit(part) for part in rows], dim=1)


def _unit(rows: Tensor) -> Tensor:
    """float32, every row that is not zero divided by its norm."""
    wide = rows.double()
    norms = wide.norm(dim=1, keepdim=True)
    scaled: Tensor = wide / norms.where(norms > 0, 1.0)
    return scaled.float()
