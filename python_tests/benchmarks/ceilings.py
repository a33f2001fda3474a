"""How close the similarity search comes to what one core can multiply and add, for each of its instruction sets.

    python python_tests/benchmarks/ceilings.py [--new 2048] [--anchors 20480] [--dimensions 300 768] [--rounds 7]

The ceiling is measured by chains of multiply-adds that need no memory (ceiling.cpp, compiled for each instruction set:
needs a C++ compiler), beside every timing and in the same process: figures are the thread's CPU time, medians over
interleaved rounds, in billions of floating-point operations a second. torch.mm of the same shapes is there for
comparison; it knows nothing of the forced instruction set.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from stages import arrays
from torch import Tensor

from salt_ext import ops
from salt_ext.ops import loader as _loader

# Of each instruction set: what the compiler may use of it, and the bytes of its vectors.
INSTRUCTION_SETS = {
    "portable": ("x86-64-v2", 16),
    "avx2": ("x86-64-v3", 32),
    "avx512": ("x86-64-v4", 64),
    "avx512_vnni": ("x86-64-v4", 64),
}


@cache
def _chains(isa: str) -> ctypes.CDLL:
    """ceiling.cpp, compiled for one instruction set."""
    machine, vector_bytes = INSTRUCTION_SETS[isa]
    command = [os.environ.get("CXX", "c++"), "-O3", "-shared", "-fPIC", f"-DVECTOR_BYTES={vector_bytes}"]
    command += [f"-march={machine}"] if platform.machine() == "x86_64" else []
    with tempfile.TemporaryDirectory() as folder:
        library = f"{folder}/ceiling.so"
        subprocess.run([*command, "-o", library, Path(__file__).with_name("ceiling.cpp")], check=True)
        return ctypes.CDLL(library)


def ceiling(dtype: torch.dtype, isa: str, rounds: int = 4_000_000) -> float:
    """Operations per second of this thread's CPU time."""
    chains = _chains(isa)
    run, last = (
        (chains.multiply_adds_f64, ctypes.c_double())
        if dtype == torch.float64
        else (chains.multiply_adds_f32, ctypes.c_float())
    )
    run.restype = ctypes.c_int64
    begin = time.thread_time()
    done = run(ctypes.c_int64(rounds), ctypes.byref(last))
    return 2.0 * done / (time.thread_time() - begin)


def rate(operations: float, function: Callable[[], object]) -> float:
    """Operations per second of this thread's CPU time."""
    begin = time.thread_time()
    function()
    return operations / (time.thread_time() - begin)


def measure(new: Tensor, anchors: Tensor, rounds: int) -> dict[str, float]:
    """Median rates of the ops, of torch.mm and of the core itself."""
    operations = 2.0 * len(new) * len(anchors) * new.shape[1]
    keys = torch.nn.functional.normalize(anchors).T.contiguous()
    ways: dict[str, Callable[[], object]] = {
        "cosine_sparsemax": lambda: ops.cosine_sparsemax(new, anchors),
        "cosine_topk, k=10": lambda: ops.cosine_topk(new, anchors, 10),
        "torch.mm": lambda: [torch.mm(block, keys) for block in new.split(1024)],
    }
    rates: dict[str, list[float]] = {name: [] for name in ("ceiling", *ways)}
    for _ in range(rounds):
        rates["ceiling"].append(ceiling(new.dtype, _loader.cpu_isa()))
        for name, way in ways.items():
            rates[name].append(rate(operations, way))
    return {name: statistics.median(values) for name, values in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--new", type=int, default=2048)
    parser.add_argument("--anchors", type=int, default=20480)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[300, 768])
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| instruction set | type | dimensions | what | GFLOP/s | of the ceiling |")
    print("|---|---|--:|---|--:|--:|")
    before = _loader.cpu_isa()
    for dimensions in options.dimensions:
        new, anchors, *_ = arrays(options.new, options.anchors, dimensions, 1, 1)
        for isa in reversed(_loader.runnable_cpu_isas()):
            _loader.set_cpu_isa(isa)
            for dtype in (torch.float32, torch.float64):
                found = measure(new.to(dtype), anchors.to(dtype), options.rounds)
                for name, value in found.items():
                    share = f"{100 * value / found['ceiling']:.0f} %"
                    print(
                        f"| {isa} | {str(dtype)[6:]} | {dimensions} | {name} | {value / 1e9:.1f} | {share} |",
                        flush=True,
                    )
    _loader.set_cpu_isa(before)


if __name__ == "__main__":
    main()
