"""Finds the torch package to build against without importing it: headers and one library are all that is needed.

Run as a script it prints the package's folder; CMake does that when nothing names one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

MINIMUM = (2, 11)

# Run by the interpreter of the environment that is installed into, freed from what pip's isolated build put around it.
_ASK = """
import importlib.util, sys
sys.path = [entry for entry in sys.path if entry]
spec = importlib.util.find_spec("torch")
print(spec.submodule_search_locations[0] if spec and spec.origin and spec.submodule_search_locations else "")
"""


def in_this_process() -> Path | None:
    """The torch that `import torch` would find here: no isolation, or one that was required for the build."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def in_target_environment() -> Path | None:
    """The torch of the environment that pip installs into.

    pip runs an isolated build with the target's own interpreter and hides the target's packages by PYTHON* variables
    and a sitecustomize module of its own; `-E` lifts both.
    """
    answer = subprocess.run([sys.executable, "-E", "-c", _ASK], capture_output=True, text=True, check=False)
    found = answer.stdout.strip()
    return Path(found) if answer.returncode == 0 and found else None


def version_of(folder: Path) -> tuple[int, int] | None:
    """(major, minor) of the torch package in `folder`, None where there is no readable version."""
    try:
        text = (folder / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    match = re.search(r"^__version__\s*=\s*['\"](\d+)\.(\d+)", text, re.MULTILINE)
    return (int(match[1]), int(match[2])) if match else None


def usable(folder: Path | None) -> bool:
    """Whether the torch in `folder` is new enough to build against."""
    version = version_of(folder) if folder else None
    return version is not None and version >= MINIMUM


def find_torch() -> Path | None:
    """The torch folder to build against: SALT_TORCH_DIR, else this process's, else the target environment's."""
    named = os.environ.get("SALT_TORCH_DIR")
    if named:
        return Path(named)
    for folder in (in_this_process(), in_target_environment()):
        if usable(folder):
            return folder
    return None


if __name__ == "__main__":
    torch_folder = find_torch()
    if torch_folder is None:
        sys.exit(f"no torch >= {MINIMUM[0]}.{MINIMUM[1]} found for {sys.executable}; name one with SALT_TORCH_DIR")
    print(torch_folder)
