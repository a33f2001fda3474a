"""The emulated threads do what a GPU's do, and the mistakes that they are there to find are found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("kernels") / "faulty.so"
    command = ["g++", "-std=c++20", "-O2", "-shared", "-fPIC", f"-I{FOLDER / 'include'}", "-o", str(library)]
    subprocess.run([*command, str(FOLDER / "faulty_kernels.cpp"), str(FOLDER / "emulator.cpp")], check=True)
    return library


def run(kernels: Path, call: str, order: str = "") -> str:
    """Calls a kernel in a process of its own: a failed launch leaves its threads as they are."""
    code = f"""
import ctypes, numpy
library = ctypes.CDLL({str(kernels)!r})
status, out = 0, numpy.zeros(256, dtype=numpy.int32)
pointer = out.ctypes.data_as(ctypes.c_void_p)
status = library.{call}
print(status, *out.view(numpy.float32 if "neighbours" in {call!r} else numpy.int32))
"""
    environment = os.environ | {"SALT_EMULATED_ORDER": order}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    ).stdout


def neighbours(kernels: Path, barrier: int, order: str) -> list[float]:
    status, *values = run(kernels, f"run_neighbours(pointer, {barrier})", order).split()
    assert status == "0"
    return [float(value) for value in values[:64]]


@pytest.mark.parametrize("order", ["", "reverse", "7"])
def test_a_barrier_makes_every_order_of_the_threads_give_the_same(kernels: Path, order: str) -> None:
    assert neighbours(kernels, 1, order) == [(i + 1) % 64 for i in range(64)]


def test_a_missing_barrier_shows_in_one_order_or_another(kernels: Path) -> None:
    right = [(i + 1) % 64 for i in range(64)]
    assert any(neighbours(kernels, 0, order) != right for order in ("", "reverse", "7"))


@pytest.mark.parametrize(
    "call",
    [
        "run_half_reach_the_barrier()",
        "run_lane_leaves_early(pointer)",
        "run_writes_beyond(64)",
        "run_reads_half(pointer, 31)",
        "run_large(0, 50000)",
        "run_large(60000, 60001)",
        "run_large(233000, 60000)",
        "run_lowers_its_limit()",
        "run_copies(pointer, 0)",
        "run_fills(pointer, 0)",
    ],
)
def test_a_mistake_fails_the_launch(kernels: Path, call: str) -> None:
    assert int(run(kernels, call).split()[0]) > 0


@pytest.mark.parametrize(
    "call",
    ["run_reads_half(pointer, 32)", "run_large(0, 49152)", "run_large(232448, 60000)", "run_copies(pointer, 4)"],
)
def test_what_is_right_is_let_through(kernels: Path, call: str) -> None:
    assert run(kernels, call).split()[0] == "0"


def test_warp_operations_see_the_lanes_that_they_name(kernels: Path) -> None:
    status, *values = run(kernels, "run_warp_operations(pointer)").split()
    assert status == "0"
    for thread in range(64):
        lane = thread % 32
        expected = [31 * 32 // 2, min(lane + 1, 31), max(lane - 1, 0), 0xAAAAAAAA - (1 << 32)]
        assert [int(value) for value in values[4 * thread : 4 * thread + 4]] == expected
