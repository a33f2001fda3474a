"""The transfer plan: how every row of the new tables is made from rows of the old ones.

A plan is a sparse matrix of weights, target rows by source rows, with a provenance for each row. It knows nothing of
widths, dtypes or models: the same plan makes the input table, an untied head and the head's bias, and those of every
sibling of the source.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.device import move_used_rows
from salt_ext.errors import InputError, OutputError

_VERSION = "1"
_RESERVED = ("format", "version", "seed", "source_rows")
_BLOCK_BYTES = 64 << 20
# Part of what a plan means: another block would draw other numbers from the same seed.
_SAMPLE_BLOCK = 1024
_DTYPES = {
    "crow_indices": torch.int64,
    "col_indices": torch.int64,
    "values": torch.float32,
    "provenance": torch.uint8,
    "residual": torch.float32,
}


class Provenance(IntEnum):
    """How a row of the new table comes about."""

    COPIED = 0  # an anchor: the source's row, bit for bit
    REGRESSED = 1  # a weighted sum of source rows
    AVERAGED = 2  # the mean of the source's rows
    SAMPLED = 3  # drawn from the normal distribution of the source's rows, each dimension on its own
    PADDING = 4  # no token: rows that round the table up to a multiple, the mean of the source's rows


# Rows that are the mean.
_MEAN = (Provenance.AVERAGED, Provenance.PADDING)


@dataclass(frozen=True, eq=False)
class TransferPlan:
    """Weights [target_rows, source_rows] in canonical CSR, and where each row comes from. All tensors lie on the CPU.

    Attributes:
        crow_indices: int64 [target_rows + 1], where each row's entries begin and end.
        col_indices: int64 [nnz], source token ids, strictly ascending within a row.
        values: float32 [nnz], finite. A COPIED row has the single entry 1; only COPIED and REGRESSED rows have entries.
        provenance: uint8 [target_rows], values of `Provenance`.
        residual: float32 [target_rows], ||q - wA|| / ||q|| in donor space; nan where there was no regression.
        source_rows: the number of source rows that are tokens. A table may have more: rows from here on are padding,
            which no weight names and no mean counts.
        seed: of the SAMPLED rows.
        metadata: strings to keep with the plan, such as the names of source and donor.

    Raises:
        InputError: a tensor has another dtype or length, the CSR is not canonical, or a row contradicts its provenance.
    """

    crow_indices: Tensor
    col_indices: Tensor
    values: Tensor
    provenance: Tensor
    residual: Tensor
    source_rows: int
    seed: int
    metadata: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _validate(self)

    @property
    def target_rows(self) -> int:
        """The number of rows that the plan makes."""
        return self.provenance.shape[0]

    def rows(self, provenance: Provenance) -> Tensor:
        """The target ids of this provenance, int64, ascending."""
        return (self.provenance == provenance).nonzero()[:, 0]

    def apply(self, table: Tensor, *, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Tensor:
        """Makes the new table from an old one.

        COPIED rows are bit-equal to the source's, or its rows converted. REGRESSED rows are summed in float32 (float64
        where the old or the new table is float64) and rounded once. AVERAGED and PADDING rows are the mean of the
        `source_rows` rows, accumulated in float64; SAMPLED rows are mean + std * z with the population's standard
        deviation of each dimension and z from a float64 generator with the plan's seed, so that tables of equal width
        get equal z.

        Args:
            table: [at least source_rows, ...] of float16, bfloat16, float32 or float64; a bias has one dimension.
            dtype: of the new table, one of the four; None for the old one's.
            device: where REGRESSED rows are summed; only the source rows that they use go there. None: the table's.

        Returns:
            [target_rows, ...] on the table's device. Beyond it, memory is bounded by blocks, or by the old table in
            `dtype` where that is the wider one.

        Raises:
            InputError: the table has another dtype or fewer rows than `source_rows`.
        """
        dtype = dtype or table.dtype
        if not table.is_floating_point() or table.element_size() < 2:
            raise InputError(f"table has dtype {table.dtype}, expected float16, bfloat16, float32 or float64")
        if table.ndim < 1 or table.shape[0] < self.source_rows:
            raise InputError(f"table has shape {list(table.shape)}, expected at least {self.source_rows} rows")
        old = table.detach()[: self.source_rows].reshape(self.source_rows, -1)
        if torch.promote_types(old.dtype, dtype) != old.dtype:
            old = old.to(torch.promote_types(old.dtype, dtype))
        new = old.new_empty(self.target_rows, old.shape[1], dtype=dtype)
        self._copy(old, new)
        self._combine(old, new, device or old.device)
        self._fill(old, new)
        return new.reshape(self.target_rows, *table.shape[1:])

    def explain(self, target_id: int) -> list[tuple[int, float]]:
        """The source tokens of one row and their weights, the largest magnitude first; empty without a source token.

        Raises:
            InputError: there is no such row.
        """
        if not 0 <= target_id < self.target_rows:
            raise InputError(f"target_id is {target_id}, expected 0 to {self.target_rows - 1}")
        begin, end = self.crow_indices[target_id : target_id + 2].tolist()
        entries = zip(self.col_indices[begin:end].tolist(), self.values[begin:end].tolist(), strict=True)
        return sorted(entries, key=lambda entry: (-abs(entry[1]), entry[0]))

    def save(self, path: Path) -> None:
        """Writes the plan as a safetensors file.

        Raises:
            OutputError: the file cannot be written.
        """
        # Copies: the library refuses tensors that share memory.
        tensors = {name: getattr(self, name).contiguous().clone() for name in _DTYPES}
        header = {
            "format": "salt_plan",
            "version": _VERSION,
            "seed": str(self.seed),
            "source_rows": str(self.source_rows),
        }
        try:
            # Not save_file: it leaves a file that only its owner may read.
            path.write_bytes(_reproducible(safetensors.torch.save(tensors, metadata=header | self.metadata)))
        except (OSError, safetensors.SafetensorError) as error:
            raise OutputError(f"the plan cannot be written to {path}: {error}") from error

    @classmethod
    def load(cls, path: Path) -> TransferPlan:
        """Reads a plan that `save` wrote.

        Raises:
            InputError: the file is missing, corrupt, of another version, or not a valid plan.
        """
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                metadata = dict(file.metadata() or {})
                if metadata.get("format") != "salt_plan" or metadata.get("version") != _VERSION:
                    raise InputError(f"{path} is not a transfer plan of version {_VERSION}")
                missing = _DTYPES.keys() - set(file.keys())
                if missing:
                    raise InputError(f"{path} is not a transfer plan: it lacks {', '.join(sorted(missing))}")
                tensors = {name: file.get_tensor(name) for name in _DTYPES}
        except (OSError, safetensors.SafetensorError) as error:
            raise InputError(f"{path} cannot be read as a transfer plan: {error!s:.300}") from error
        numbers = {name: metadata.get(name, "") for name in ("seed", "source_rows")}
        if not all(text.isascii() and text.isdigit() and len(text) < 20 for text in numbers.values()):
            raise InputError(f"{path} is not a transfer plan: its seed or source_rows is not a number")
        kept = {name: text for name, text in metadata.items() if name not in _RESERVED}
        try:
            return cls(**tensors, seed=int(numbers["seed"]), source_rows=int(numbers["source_rows"]), metadata=kept)
        except InputError as error:
            raise InputError(f"{path} is not a valid transfer plan: {error}") from None

    def _copy(self, old: Tensor, new: Tensor) -> None:
        rows = self.rows(Provenance.COPIED)
        sources = self.col_indices[self.crow_indices[rows]]
        for begin, end in _blocks(len(rows), _rows_per_block(old)):
            new[rows[begin:end].to(new.device)] = old.index_select(0, sources[begin:end].to(old.device)).to(new.dtype)

    def _combine(self, old: Tensor, new: Tensor, device: torch.device) -> None:
        rows = self.rows(Provenance.REGRESSED)
        lengths = self.crow_indices.diff()
        chosen = torch.repeat_interleave(self.provenance == Provenance.REGRESSED, lengths)
        crow = torch.cat([lengths.new_zeros(1), lengths[rows].cumsum(0)])
        col, values = self.col_indices[chosen], self.values[chosen]
        if device != old.device:
            old, col = move_used_rows(old, col, device)
        for begin, end in _blocks(len(rows), _rows_per_block(old)):
            first, last = int(crow[begin]), int(crow[end])
            part = (crow[begin : end + 1] - first, col[first:last], values[first:last])
            part_crow, part_col, part_values = (tensor.to(old.device) for tensor in part)
            combined = ops.csr_matmul(part_crow, part_col, part_values, old)
            new[rows[begin:end].to(new.device)] = combined.to(new.dtype).to(new.device)

    def _fill(self, old: Tensor, new: Tensor) -> None:
        averaged, sampled = [self.rows(kind) for kind in _MEAN], self.rows(Provenance.SAMPLED)
        if not any(map(len, [*averaged, sampled])):
            return
        mean, std = _statistics(old)
        for rows in averaged:
            new[rows.to(new.device)] = mean.to(new.dtype)
        generator = torch.Generator().manual_seed(self.seed)
        for begin, end in _blocks(len(sampled), _SAMPLE_BLOCK):
            z = torch.randn(_SAMPLE_BLOCK, old.shape[1], generator=generator, dtype=torch.float64)[: end - begin]
            new[sampled[begin:end].to(new.device)] = (mean + std * z.to(old.device)).to(new.dtype)


def _reproducible(file: bytes) -> bytes:
    """The file with its metadata in order; the library writes it in another order every time."""
    length = int.from_bytes(file[:8], "little")
    ordered = json.dumps(json.loads(file[8 : 8 + length]), separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    raw = ordered.encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + file[8 + length :]


def _blocks(total: int, size: int) -> Iterator[tuple[int, int]]:
    for begin in range(0, total, size):
        yield begin, min(begin + size, total)


def _rows_per_block(table: Tensor) -> int:
    """Rows that take about `_BLOCK_BYTES` in float64, the widest that a block is worked on in."""
    return max(1, _BLOCK_BYTES // (8 * max(1, table.shape[1])))


def _statistics(table: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and population standard deviation of each column, float64, in two passes of blocks.

    NumPy adds row after row whatever the layout of the table or the number of threads, so the bits depend on neither.
    """
    mean, squares = np.zeros(table.shape[1]), np.zeros(table.shape[1])
    bounds = list(_blocks(table.shape[0], _rows_per_block(table)))
    for begin, end in bounds:
        mean += table[begin:end].double().contiguous().cpu().numpy().sum(axis=0)
    mean /= table.shape[0]
    for begin, end in bounds:
        squares += np.square(table[begin:end].double().contiguous().cpu().numpy() - mean).sum(axis=0)
    std = np.sqrt(squares / table.shape[0])
    return torch.from_numpy(mean).to(table.device), torch.from_numpy(std).to(table.device)


def _validate(plan: TransferPlan) -> None:
    target_rows, nnz = plan.provenance.numel(), plan.col_indices.numel()
    lengths = {"crow_indices": target_rows + 1, "col_indices": nnz, "values": nnz, "residual": target_rows}
    for name, dtype in _DTYPES.items():
        tensor: Tensor = getattr(plan, name)
        length = lengths.get(name, target_rows)
        if tensor.dtype != dtype or tensor.shape != (length,) or tensor.device.type != "cpu":
            found = f"{tensor.dtype} {list(tensor.shape)} on {tensor.device}"
            raise InputError(f"{name} is {found}, expected {dtype} [{length}] on cpu")
    if plan.source_rows < 1 or not 0 <= plan.seed < 2**63:
        raise InputError(f"source_rows is {plan.source_rows} and seed is {plan.seed}, expected >= 1 and 0 to 2**63 - 1")
    if clash := [name for name in _RESERVED if name in plan.metadata]:
        raise InputError(f"metadata has the key {clash[0]!r}, which the plan's own header uses")
    crow, col = plan.crow_indices, plan.col_indices
    counts = crow.diff()
    if crow[0] != 0 or crow[-1] != nnz or bool((counts < 0).any()):
        raise InputError(f"crow_indices must rise from 0 to {nnz}, the length of col_indices")
    if bool(((col < 0) | (col >= plan.source_rows)).any()):
        raise InputError(f"col_indices must lie between 0 and {plan.source_rows - 1}, the source's rows")
    if nnz:
        row_starts = torch.zeros(nnz + 1, dtype=torch.bool)
        row_starts[crow] = True
        if not bool(((col[1:] > col[:-1]) | row_starts[1:-1]).all()):
            raise InputError("col_indices must ascend strictly within each row")
    if not bool(plan.values.isfinite().all()):
        raise InputError("values has entries that are not finite")
    kinds = plan.provenance
    if bool((kinds > max(Provenance)).any()):
        raise InputError(f"provenance must lie between 0 and {max(Provenance):d}")
    copied = kinds == Provenance.COPIED
    if bool((counts[copied] != 1).any()) or bool((plan.values[crow[:-1][copied]] != 1).any()):
        raise InputError("a row with provenance COPIED must have exactly one entry, of weight 1")
    if bool((counts[kinds == Provenance.REGRESSED] == 0).any()):
        raise InputError("a row with provenance REGRESSED must have entries")
    if bool((counts[(kinds != Provenance.COPIED) & (kinds != Provenance.REGRESSED)] != 0).any()):
        raise InputError("a row with provenance AVERAGED, SAMPLED or PADDING must have no entries")
