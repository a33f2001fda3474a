"""How much memory this process has used, and how much the machine has left."""

from __future__ import annotations

import os
import resource
from pathlib import Path


def peak_memory() -> int:
    """The most bytes that this process has had in memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


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
