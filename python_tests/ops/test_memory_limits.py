"""Where memory runs out, even on a thread of a kernel's team, Python sees a MemoryError and the process lives on."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from salt_ext import ops

pytestmark = pytest.mark.cpu
CSRC = Path(__file__).resolve().parents[2] / "csrc"
# Every vector of some size has pages of its own, which count towards the limit and go when it goes; one heap for all.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}


def rows_of(rows: int, entries: int) -> tuple[Tensor, Tensor]:
    return torch.arange(rows + 1) * entries, torch.arange(entries).repeat(rows)


def calls(scale: int) -> dict[str, Callable[[], object]]:
    """Every operator on inputs that need some megabytes for each thread at scale 100, next to nothing at scale 1."""
    q, k = rows_of(4, 3 * scale), rows_of(40, 500 * scale)
    wide, few = torch.randn(4 * scale, 20 * scale), torch.randn(4, 2000 * scale)
    half = wide[:, : 6 * scale]
    one_each = rows_of(4, 4)
    tall, weights = torch.randn(500 * scale, 4, dtype=torch.float64), torch.ones(20_000 * scale)
    sampled = torch.ops.salt._csr_sampled_matmul
    return {
        "cosine_sparsemax": lambda: ops.cosine_sparsemax(wide, wide),
        "cosine_topk": lambda: ops.cosine_topk(wide, wide, 2),
        "lstsq_weights": lambda: ops.lstsq_weights(*q, half[:4], half[: 3 * scale]),
        "csr_matmul": lambda: ops.csr_matmul(*k, weights, tall),
        "_csr_sampled_matmul": lambda: sampled(*one_each, few, few),
        "omp": lambda: ops.omp(half[:scale], half, 2),
        "transfer": lambda: ops.transfer(wide, wide, half, half, half[:, :3]),
    }


def in_limits(name: str) -> dict[str, int]:
    """How often the call ran out of memory and how often it ended, in more and more room."""
    torch.set_num_threads(2)
    torch.manual_seed(0)
    small, large = calls(1)[name], calls(100)[name]
    before = small()
    large()  # wakes the team and all that is loaded when it is needed first
    counts = {"out of memory": 0, "answers": 0}
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    room = 256 << 10
    while counts["answers"] < 2:
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + room, hard))
        try:
            large()
            end = "answers"
        except MemoryError:
            end = "out of memory"
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        counts[end] += 1
        torch.testing.assert_close(small(), before, rtol=0, atol=0)
        room += room // 4
    return counts


def in_children() -> None:
    """One line for each operator. What ran out of memory leaves holes behind, in which the next would find some."""
    torch.set_num_threads(1)  # children could not wake a team of this process
    for name in calls(1):
        child = os.fork()
        if child == 0:
            print(json.dumps({name: in_limits(name)}), flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status:
            print(json.dumps({name: f"died: {status}"}), flush=True)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer maps terabytes")
def test_every_operator_survives_running_out_of_memory() -> None:
    run = subprocess.run([sys.executable, __file__], capture_output=True, text=True, env=os.environ | MALLOC)
    assert run.returncode == 0, run.stderr[-2000:]
    ends = {name: end for line in run.stdout.splitlines() for name, end in json.loads(line).items()}
    assert ends.keys() == calls(1).keys()
    assert all(isinstance(end, dict) and end["out of memory"] >= 3 for end in ends.values()), (ends, run.stderr[-2000:])


def test_what_no_memory_can_hold_is_a_memory_error() -> None:
    row = torch.ones(1, 4)
    with pytest.raises(MemoryError, match="out of memory: the result"):
        ops.omp(row, row, 2**44)
    with pytest.raises((MemoryError, RuntimeError)):
        torch.ops.salt.omp(row, row, 2**62)


def test_teams_of_threads_start_in_one_place() -> None:
    """An exception that leaves an OpenMP region ends the process: one place catches them all."""
    sources = [path for path in CSRC.rglob("*") if path.suffix in (".cpp", ".h")]
    with_region = [path.name for path in sources if re.search(r"#\s*pragma\s+omp", path.read_text(encoding="utf-8"))]
    assert with_region == ["parallel.h"]


if __name__ == "__main__":
    in_children()
