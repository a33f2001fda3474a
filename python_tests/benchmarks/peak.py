"""Memory that an op takes beyond its inputs and outputs, at a size where all similarities would be 12 GB.

    python python_tests/benchmarks/peak.py cosine_sparsemax|transfer [--new 100000] [--anchors 30000]

Needs a process of its own: the peak (VmHWM) is that of the whole process, and starts again at what is there now.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from stages import arrays
from torch import Tensor

from salt_ext import ops

WIDTHS = (300, 128, 128)


def extra(op: str, new: int, anchors: int) -> int:
    """Bytes."""
    data = arrays(new, anchors, *WIDTHS)
    run = ops.transfer if op == "transfer" else lambda *tensors: ops.cosine_sparsemax(*tensors[:2])
    run(*(tensor[:400] for tensor in data))  # what a first call loads is not the call's
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    result = run(*data)
    outputs = [result] if isinstance(result, Tensor) else result
    return status("VmHWM") - before - sum(tensor.nbytes for tensor in outputs)


def status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("op", choices=("cosine_sparsemax", "transfer"))
    parser.add_argument("--new", type=int, default=100_000)
    parser.add_argument("--anchors", type=int, default=30_000)
    options = parser.parse_args()
    torch.set_num_threads(2)
    print(extra(options.op, options.new, options.anchors))


if __name__ == "__main__":
    main()
