"""The committed ratios (floors.toml): one table per class of machine, rewritten by refloor.py."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from salt_ext.ops import loader as _loader

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE = Path(__file__).with_name("floors.toml")
# A floor is this share of what was measured: 1.5 times the work gives 0.67, and noise mostly takes away.
MARGIN = 0.75


def machine_class() -> str:
    """The CPU's maker, family and model, the kernels in use and those of torch's references.

    Ratios hold for no other combination: caches and clocks differ between models of one maker.
    """
    facts = dict.fromkeys(("vendor_id", "cpu family", "model"), "unknown")
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if facts.get(key) == "unknown":
            facts[key] = value
    cpu = f"{facts['vendor_id']} {facts['cpu family']}-{facts['model']}"
    return f"{cpu}, {_loader.cpu_isa()}, torch {torch.backends.cpu.get_cpu_capability()}"


def read() -> dict[str, dict[str, Any]]:
    with FILE.open("rb") as stream:
        return tomllib.load(stream)


def write(table: dict[str, dict[str, Any]]) -> None:
    lines = [
        "# Ratios of time, reference / operation, by class of machine; see harness.py. Written by refloor.py.",
        f"# floor = {MARGIN} x measured; below it `pytest -m perf` fails.",
    ]
    for name, entry in sorted(table.items()):
        lines += ["", f'["{name}"]', *(f'{key} = "{entry[key]}"' for key in ("date", "torch"))]
        for case, ratio in entry["cases"].items():
            lines.append(f'cases."{case}" = {{ measured = {ratio["measured"]:.3f}, floor = {ratio["floor"]:.3f} }}')
    FILE.write_text("\n".join(lines) + "\n")
