"""The machine: its processor, memory that is used and left, and threads."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

_MADV_PAGEOUT = 21


def cpu_name() -> str:
    """What the processor calls itself, and how many cores there are."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{next(names, platform.machine())}, {os.cpu_count()} cores"


def peak_memory() -> int:
    """The most bytes that this process has had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@dataclass
class Growth:
    """What `memory_growth` found.

    Attributes:
        bytes: None until the block ends, and where the system does not tell.
    """

    bytes: int | None = None


@contextmanager
def memory_growth() -> Iterator[Growth]:
    """How far this process's resident memory rises, at its peak, above what it had when the block began.

    Whatever allocates counts: Python, torch, the operators' own work space, and pages of libraries that are read for
    the first time. Memory that was freed before the block is given back to the system first, as far as the allocator
    can, since taking it up again would not show. The process's own record of its peak starts anew.
    """
    gc.collect()
    give_memory_back()
    growth = Growth()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        before = _status("VmRSS")
    except OSError:  # another system, or one that does not let a process reset its peak
        yield growth
        return
    yield growth
    growth.bytes = _status("VmHWM") - before


def _status(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def give_memory_back() -> None:
    """Returns what was freed to the system, as far as the allocator can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def forget_pages(tensor: torch.Tensor) -> None:
    """Takes the pages of a piece of a mapped file out of this process's memory; they can be read again at any time.

    Only whole pages, and only by the call that never loses data (MADV_PAGEOUT, Linux 5.4): memory that is no file's
    stays where it is.
    """
    page = os.sysconf("SC_PAGE_SIZE")
    begin = -(-tensor.data_ptr() // page) * page
    length = tensor.data_ptr() + tensor.nbytes - begin
    if length > 0:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(length), _MADV_PAGEOUT)


def available_memory() -> int:
    """Bytes that a process can take without the machine swapping; the free ones where the system does not tell more."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        lines = []
    found = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    if found is not None:
        return int(found) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Gives torch so many threads within the block, and its own number again behind it; None changes nothing."""
    usual = torch.get_num_threads()
    torch.set_num_threads(count or usual)
    try:
        yield
    finally:
        torch.set_num_threads(usual)
