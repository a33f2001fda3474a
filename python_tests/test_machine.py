"""What is measured of the machine."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest
import torch

from salt_ext.runtime.machine import memory_growth

MEGABYTE = 1 << 20


def status(*fields: str) -> int:
    """Bytes of this process, from the system's own page about it."""
    entries = (line.split() for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return sum(1024 * int(entry[1]) for entry in entries if entry[0].rstrip(":") in fields)


class Reclaimed:
    """Bytes that the system took from this process within the block, as it does where other processes need memory.

    They are missing in the growth, in which other processes have thus their say; added to it, they have none.
    """

    bytes = 0

    def __enter__(self) -> Reclaimed:
        self.before = status("RssFile"), status("VmSwap")
        return self

    def __exit__(self, *_error: object) -> None:
        self.bytes = max(0, self.before[0] - status("RssFile")) + max(0, status("VmSwap") - self.before[1])


@pytest.mark.parametrize("make", [lambda size: np.ones(size, dtype=np.uint8), lambda size: torch.ones(size).byte()])
def test_memory_growth_is_the_peak_of_what_is_allocated_and_freed_again(make):
    make(MEGABYTE)  # what a first call loads
    with memory_growth() as growth, Reclaimed() as reclaimed:
        block = make(100 * MEGABYTE)
        del block
    # torch makes float32 first, and one quarter more of it as bytes
    expected = 100 * MEGABYTE if make(1).__class__ is np.ndarray else 500 * MEGABYTE
    assert expected - MEGABYTE <= growth.bytes + reclaimed.bytes
    assert growth.bytes < expected + 20 * MEGABYTE


def test_memory_growth_starts_anew_each_time():
    with memory_growth() as large, Reclaimed() as from_large:
        np.ones(100 * MEGABYTE, dtype=np.uint8)
    # A mapping of its own: of an array the allocator may have a part in memory already.
    with memory_growth() as small, Reclaimed() as from_small, mmap.mmap(-1, 10 * MEGABYTE) as block:
        block.write(b"x" * len(block))
    assert large.bytes + from_large.bytes > 95 * MEGABYTE
    assert small.bytes + from_small.bytes > 9 * MEGABYTE
    assert small.bytes < 30 * MEGABYTE


def test_memory_that_the_block_finds_free_is_not_hidden():
    """Small pieces stay with the allocator when they are freed; taking them up again must show."""
    pieces = [bytearray(50_000) for _ in range(4000)]
    del pieces
    with memory_growth() as growth, Reclaimed() as reclaimed:
        before = status("RssAnon", "VmSwap")
        again = [bytearray(b"x" * 50_000) for _ in range(4000)]
        taken = status("RssAnon", "VmSwap") - before
    assert len(again) == 4000
    assert taken > 20 * MEGABYTE  # the rest stayed with the process, whose memory did not grow by it
    assert growth.bytes + reclaimed.bytes >= taken - MEGABYTE


def test_memory_growth_is_unknown_where_the_system_does_not_tell(monkeypatch):
    def refuse(*_given: object, **_more: object) -> int:
        raise PermissionError

    monkeypatch.setattr(Path, "write_text", refuse)
    with memory_growth() as growth:
        np.ones(MEGABYTE, dtype=np.uint8)
    assert growth.bytes is None
