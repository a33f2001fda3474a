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


@dataclass(frozen=True, eq=False)
class DensePart:
    """What training added to rows, see `salt_ext.distillation`: rows[i] gets input[i], or head[i] in a head, on top.

    Differences live in the space of the table that they were learned in: they fit the source and its siblings.

    Attributes:
        rows: int64 [m], target ids, strictly ascending.
        input: float32 [m, width], for the input table.
        head: float32 [m, width], for the head; None where it is `input`, the two tables having been one.
        snippets: int64 [m], windows of text that each row was seen in.
        moved: float32 [m], the norm of `input` over that of the row before.

    Raises:
        InputError: a tensor has another dtype or shape, or is not finite.
    """

    rows: Tensor
    input: Tensor
    head: Tensor | None
    snippets: Tensor
    moved: Tensor

    def __post_init__(self) -> None:
        count, width = self.rows.numel(), self.input.shape[-1] if self.input.ndim == 2 else -1
        expected = {
            "rows": (torch.int64, (count,)),
            "input": (torch.float32, (count, width)),
            "head": (torch.float32, (count, width)),
            "snippets": (torch.int64, (count,)),
            "moved": (torch.float32, (count,)),
        }
        if self.head is None:
            del expected["head"]
        for name, (dtype, shape) in expected.items():
            tensor: Tensor = getattr(self, name)
            if tensor.dtype != dtype or tensor.shape != shape or tensor.device.type != "cpu":
                found = f"{tensor.dtype} {list(tensor.shape)} on {tensor.device}"
                raise InputError(f"dense part: {name} is {found}, expected {dtype} {list(shape)} on cpu")
            if not bool(tensor.isfinite().all()):
                raise InputError(f"dense part: {name} has entries that are not finite")
        if bool((self.rows.diff() <= 0).any()):
            raise InputError("dense part: rows must ascend strictly")

    def on_top_of(self, earlier: DensePart | None) -> DensePart:
        """Both parts as one: differences and snippets of a row add up, `moved` is the later one's where both have it.

        Raises:
            InputError: one has a head of its own and the other has none, or their widths differ.
        """
        if earlier is None:
            return self
        if (self.head is None) != (earlier.head is None) or self.input.shape[1] != earlier.input.shape[1]:
            raise InputError("dense part: the earlier one is of another kind of model, expected the same tables")
        rows = torch.cat([earlier.rows, self.rows]).unique()
        places = [torch.searchsorted(rows, each.rows) for each in (earlier, self)]

        def summed(first: Tensor, second: Tensor) -> Tensor:
            total = first.new_zeros(len(rows), *first.shape[1:])
            return total.index_add(0, places[0], first).index_add(0, places[1], second)

        moved = earlier.moved.new_zeros(len(rows))
        moved[places[0]] = earlier.moved
        moved[places[1]] = self.moved
        head = None if self.head is None or earlier.head is None else summed(earlier.head, self.head)
        inputs, snippets = summed(earlier.input, self.input), summed(earlier.snippets, self.snippets)
        return DensePart(rows, inputs, head, snippets, moved)

    def add_to(self, block: Tensor, rows: Tensor, *, head: bool) -> Tensor:
        """Rows of a table with their differences on top.

        Args:
            block: [n, width], n at least 1, float32 or wider.
            rows: int64 [n], ascending, their target ids.
            head: whether the table is a head.
        """
        places = torch.searchsorted(rows, self.rows).clamp(max=len(rows) - 1)
        held = rows[places] == self.rows
        learned = self.input if self.head is None or not head else self.head
        return block.index_add(0, places[held].to(block.device), learned[held].to(block))
