"""What a plan is made of besides its sparse weights."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

import torch
from torch import Tensor

from salt_ext.errors import InputError


class Provenance(IntEnum):
    """How a row of the new table comes about."""

    COPIED = 0  # an anchor: the source's row, bit for bit
    REGRESSED = 1  # a weighted sum of source rows, with or without a low-rank part
    AVERAGED = 2  # the mean of the source's rows
    SAMPLED = 3  # drawn at random from a distribution of the source's rows
    PADDING = 4  # no token: rows that round the table up to a multiple, the mean of the source's rows


class Draw(str, Enum):
    """What SAMPLED rows are drawn from. All statistics are the table's own, of its `source_rows` rows."""

    INDEPENDENT = "independent"  # normal, each dimension on its own mean and deviation (Lee et al. 2025, section 3)
    MULTIVARIATE = "multivariate"  # normal with the rows' mean and full covariance (Hewitt 2021)
    DIRECTION = "direction"  # any direction, as long as a row that is drawn at random


class Norms(str, Enum):
    """Whether REGRESSED rows are scaled; a table of one column is not. Anchors: see `TransferPlan.norm_anchors`."""

    KEPT = "kept"
    FACTOR = "factor"  # all by one factor: their mean norm becomes that of the anchors


@dataclass(frozen=True, eq=False)
class LowRank:
    """A dense term of a plan: rows[i] of the new table gets left[i] @ (right @ table[columns]) on top.

    This is how a linear map from donor rows to source rows, fitted on the anchors, enters a plan: with the anchors'
    donor rows A, right = (A'A + ridge)^-1 A' makes the map of any table, and left holds what the map is applied to.

    Attributes:
        rows: int64 [m], target ids, strictly ascending.
        left: float32 [m, r].
        right: float32 [r, n].
        columns: int64 [n], source ids.

    Raises:
        InputError: a tensor has another dtype or shape, or is not finite.
    """

    rows: Tensor
    left: Tensor
    right: Tensor
    columns: Tensor

    def __post_init__(self) -> None:
        rank = self.left.shape[-1] if self.left.ndim == 2 else -1
        expected = {
            "rows": (torch.int64, (self.rows.numel(),)),
            "left": (torch.float32, (self.rows.numel(), rank)),
            "right": (torch.float32, (rank, self.columns.numel())),
            "columns": (torch.int64, (self.columns.numel(),)),
        }
        for name, (dtype, shape) in expected.items():
            tensor: Tensor = getattr(self, name)
            if tensor.dtype != dtype or tensor.shape != shape or tensor.device.type != "cpu":
                found = f"{tensor.dtype} {list(tensor.shape)} on {tensor.device}"
                raise InputError(f"low-rank part: {name} is {found}, expected {dtype} {list(shape)} on cpu")
        if not bool(self.left.isfinite().all()) or not bool(self.right.isfinite().all()):
            raise InputError("low-rank part: left or right has entries that are not finite")
        if bool((self.rows.diff() <= 0).any()):
            raise InputError("low-rank part: rows must ascend strictly")

    def map_of(self, table: Tensor, device: torch.device) -> Tensor:
        """right @ table[columns], [r, width], float32 or wider, on the device; only the rows it needs go there."""
        wide = torch.promote_types(table.dtype, torch.float32)
        anchors = table.index_select(0, self.columns.to(table.device)).to(device, wide)
        return self.right.to(device, wide) @ anchors
