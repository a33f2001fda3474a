"""Instructions that one small call of each op takes, by callgrind: exact where seconds are noise.

    python python_tests/benchmarks/counted.py [--write]

Needs valgrind and a C compiler; valgrind knows no AVX-512. --write puts the counts into instructions.toml as the
budgets of the compiler that the ops were built with.
"""

from __future__ import annotations

import argparse
import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from floors import tomllib
from stages import arrays

from salt_ext import ops
from salt_ext.ops import loader as _loader

BUDGETS = Path(__file__).with_name("instructions.toml")
INSTRUCTION_SETS = ("portable", "avx2")
# What a later torch or C library may add to a call; work is far more than that.
TOLERANCE = 1.1


def calls() -> dict[str, Callable[[], Any]]:
    new, shared, donor_new, donor_shared, source = arrays(48, 640, 100, 96, 192)
    crow, col, values = ops.cosine_sparsemax(new, shared)
    return {
        "cosine_sparsemax": lambda: ops.cosine_sparsemax(new, shared),
        "cosine_topk": lambda: ops.cosine_topk(new, shared, 10),
        "lstsq_weights": lambda: ops.lstsq_weights(crow, col, donor_new, donor_shared),
        "csr_matmul": lambda: ops.csr_matmul(crow, col, values, source),
        "omp": lambda: ops.omp(donor_new[:8], donor_shared, 8),
        "transfer": lambda: ops.transfer(new, shared, donor_new, donor_shared, source),
    }


def compiler() -> str:
    """Name and major version: other ones make other instructions."""
    return _loader.build_info()["compiler"].split(".")[0]


def missing() -> str:
    """What this machine lacks, in words, or nothing."""
    if shutil.which("valgrind") is None:
        return "valgrind is not installed"
    if shutil.which("cc") is None:
        return "there is no C compiler"
    if not Path("/usr/include/valgrind/callgrind.h").is_file():
        return "valgrind's headers are not installed"
    return ""


def count() -> dict[str, int]:
    """Instructions of each call on each instruction set, from a run of this file under callgrind."""
    with tempfile.TemporaryDirectory(prefix="salt-ext-counted-") as folder:
        marks, out = Path(folder, "marks.so"), Path(folder, "out")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", marks, Path(__file__).with_name("marks.c")], check=True)
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
        search = f"import sys; sys.path[:0] = {sys.path!r}; import counted; counted.child({str(marks)!r})"
        subprocess.run([*valgrind, sys.executable, "-c", search], check=True, capture_output=True)
        counts = {}
        for dump in Path(folder).glob("out.*"):
            text = dump.read_text()
            if name := re.search(r"^desc: Trigger: Client Request: (.+)$", text, re.MULTILINE):
                total = re.search(r"^totals: (\d+)$", text, re.MULTILINE)
                assert total is not None
                counts[name[1]] = int(total[1])
    return counts


def child(library: str) -> None:
    torch.set_num_threads(1)
    marks = ctypes.CDLL(library)
    for isa in INSTRUCTION_SETS:
        _loader.set_cpu_isa(isa)
        for name, call in calls().items():
            call()
            marks.begin()
            call()
            marks.end(f"{name}, {isa}".encode())


def budgets() -> dict[str, dict[str, int]]:
    return tomllib.loads(BUDGETS.read_text()) if BUDGETS.is_file() else {}


def write(counts: dict[str, int]) -> None:
    table = budgets() | {compiler(): counts}
    lines = ["# Instructions of one small call, by compiler. Written by counted.py --write."]
    for name, entry in sorted(table.items()):
        lines += ["", f'["{name}"]', *(f'"{call}" = {number}' for call, number in sorted(entry.items()))]
    BUDGETS.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if lack := missing():
        sys.exit(lack)
    counts = count()
    known = budgets().get(compiler(), {})
    for name, number in sorted(counts.items()):
        print(f"{name:<32} {number:>12,}" + (f"   {number / known[name]:.3f} x the budget" if name in known else ""))
    if options.write:
        write(counts)


if __name__ == "__main__":
    main()
