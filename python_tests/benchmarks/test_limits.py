"""Limits that are figures, not ratios: memory beyond inputs and outputs, and the time that an import takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest
from harness import timed

pytestmark = pytest.mark.perf

EXTRA_BYTES = 64 * 2**20
STARTUP_SECONDS = 1.5
FIRST_OP = "from salt_ext import ops; ops.cosine_sparsemax(torch.eye(3), torch.eye(3))"


def python(*arguments: str) -> str:
    settings = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run([sys.executable, *arguments], env=settings, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("op", ["cosine_sparsemax", "transfer"])
def test_extra_peak_of_100000_tokens_and_30000_anchors(op: str) -> None:
    assert int(python(str(Path(__file__).with_name("peak.py")), op)) <= EXTRA_BYTES


def test_start_up_beyond_torch() -> None:
    def seconds(code: str) -> float:
        return timed(lambda: python("-c", code))[1]

    beyond = [seconds(f"import torch; {FIRST_OP}") - seconds("import torch") for _ in range(3)]
    assert median(beyond) <= STARTUP_SECONDS
