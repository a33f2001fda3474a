"""Measures every case on this machine and writes its floors into floors.toml; other classes of machine stay.

    python python_tests/benchmarks/refloor.py [--batches 5] [CASE ...]

Run it on a quiet machine after a change of speed that is meant to last. SALT_CPU_ISA=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2
ATEN_CPU_CAPABILITY=avx2 give the floors of a machine without AVX-512: both sides of the ratio do without.
"""

from __future__ import annotations

import argparse
import datetime
import os
from statistics import median

# Read when torch loads its OpenMP runtime, as python_tests/conftest.py does for the tests.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import floors
import torch
from cases import CASES
from harness import Race


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=5)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="all, if none is named")
    options = parser.parse_args()
    name = floors.machine_class()
    table = floors.read() if floors.FILE.exists() else {}
    entry = table.setdefault(name, {"cases": {}})
    entry |= {"date": datetime.date.today().isoformat(), "torch": torch.__version__}
    print(name)
    for case_name in options.cases or CASES:
        torch.set_num_threads(1)
        case = CASES[case_name]()
        race = Race(case)
        race.prepare()
        case.operation()
        for _ in range(options.batches):
            race.batch()
        case.check(race.result)
        ratio = race.ratio()
        entry["cases"][case_name] = {"measured": ratio, "floor": floors.MARGIN * ratio}
        print(f"{case_name:<48} {ratio:7.3f}   {1e3 * median(race.seconds):8.2f} ms", flush=True)
        floors.write(table)


if __name__ == "__main__":
    main()
