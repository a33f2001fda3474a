"""Where the ops of a job run: the device that was asked for, and the CPU from the moment that its memory is short."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from salt_ext.errors import InputError
from salt_ext.ops import loader as _loader

AUTO = "auto"
CPU = torch.device("cpu")
_BLOCK_BYTES = 64 << 20
_CHOICES = "auto, cpu, cuda or cuda:0, cuda:1 and so on"
# How a kernel says that memory is short: CUDA and cuBLAS in their own words, and torch's allocator, whose exception
# does not cross the stable ABI, by the name of the call that failed.
_OUT_OF_MEMORY = re.compile(
    r"out of memory|resource allocation failed|ALLOC_FAILED|aten(::|_)(new_empty|new_zeros|contiguous)\b"
)

T = TypeVar("T")


def choose_device(wanted: str) -> torch.device:
    """The device that a word means.

    Args:
        wanted: "auto" for the current CUDA device where the ops run on it, else the CPU; "cpu"; "cuda" for the current
            CUDA device; or "cuda:" and a number.

    Raises:
        InputError: another word, a CUDA device where the ops cannot run, a number that no device has.
    """
    found = re.fullmatch(r"(auto|cpu|cuda)(?:(?<=cuda):([0-9]{1,9}))?", wanted)
    if found is None:
        raise InputError(f"device is {wanted!r}, expected {_CHOICES}")
    backend = _loader.backends()["cuda"]
    if wanted == "cpu" or (wanted == AUTO and not backend.available):
        return CPU
    if not backend.available:
        raise InputError(f"device is {wanted!r}, which cannot be used: {backend.reason}")
    count = torch.cuda.device_count()
    number = torch.cuda.current_device() if found[2] is None else int(found[2])
    if number >= count:
        raise InputError(f"device is {wanted!r}, which does not exist: there are {count} CUDA devices, from cuda:0 on")
    return torch.device("cuda", number)


def free_memory(device: torch.device) -> int:
    """Bytes that torch can still take on a CUDA device, those included that it holds and does not use."""
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + cached


def move_used_rows(table: Tensor, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Moves the rows of a table that are used, block by block.

    Args:
        table: [K, H].
        rows: int64 [n] on the CPU, rows of the table; one may come often.
        device: where they go.

    Returns:
        The moved rows in the table's order, and for each of `rows` its place among them.
    """
    is_used = torch.zeros(table.shape[0], dtype=torch.bool)
    is_used[rows] = True
    used = is_used.nonzero()[:, 0]
    moved = table.new_empty(len(used), table.shape[1], device=device)
    size = max(1, _BLOCK_BYTES // (table.element_size() * max(1, table.shape[1])))
    for begin in range(0, len(used), size):
        moved[begin : begin + size] = table.index_select(0, used[begin : begin + size].to(table.device))
    return moved, (is_used.cumsum(0) - 1)[rows]


@dataclass
class Placement:
    """Where the ops of one job run.

    Attributes:
        device: where they run next.
        ran: for each step that ran, on what.
        warnings: one sentence, once the device's memory was short.
    """

    device: torch.device = CPU
    ran: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def run(self, step: str, work: Callable[[torch.device], T], *, needed: int) -> T:
        """Does a step on the device; on the CPU, as all later ones, where the device's memory is short.

        Args:
            step: what it is called in the report.
            work: the step; it is begun anew on the CPU where the device runs out of memory under it.
            needed: bytes of device memory that it takes, about.

        Returns:
            What `work` returns.
        """
        if self.device.type != CPU.type:
            free = free_memory(self.device)
            short = f"about {_gigabytes(needed)}"
            if needed <= free:
                try:
                    return self._run(step, work)
                except RuntimeError as error:
                    if not _is_out_of_memory(error, self.device):
                        raise
                short = f"more than {_gigabytes(free)}"
            self.warnings.append(
                f"{self.device} is short of memory: the {step} needs {short}, {_gigabytes(free)} is free; the CPU does "
                "it and what follows"
            )
            torch.cuda.empty_cache()
            self.device = CPU
        return self._run(step, work)

    def _run(self, step: str, work: Callable[[torch.device], T]) -> T:
        done = work(self.device)
        on_cpu = self.device.type == CPU.type
        self.ran[step] = "cpu" if on_cpu else f"{self.device} ({torch.cuda.get_device_name(self.device)})"
        return done


def _is_out_of_memory(error: RuntimeError, device: torch.device) -> bool:
    if isinstance(error, torch.OutOfMemoryError):
        return True
    if not _OUT_OF_MEMORY.search(str(error)):
        return False
    # A kernel that failed earlier makes every later call fail: this raises its error.
    torch.cuda.synchronize(device)
    return True


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.2f} GB"
