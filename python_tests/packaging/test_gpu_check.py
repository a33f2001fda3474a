"""The script for a machine with a GPU, on one without: made-up tools, true times, files and judgements."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "gpu_check.sh"
OURS = """========= COMPUTE-SANITIZER
========= Uninitialized __global__ memory read of size 2 bytes
=========     at void salt::cuda::<unnamed>::select_candidates<float>(salt::cuda::Pursuits, long)+0x70
=========     by thread (0,0,0) in block (0,0,0)
"""
THEIRS = OURS.replace("salt::cuda::", "cublas::")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Every command that the script asks for; each ends at once and is content."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("nvcc", "cmake", "ninja", "nvidia-smi", "python", "compute-sanitizer"):
        write(folder / name, "exit 0")
    return folder


def write(tool: Path, script: str) -> None:
    tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    tool.chmod(0o755)


def check(tools: Path, *parts: str, seconds: int = 60) -> tuple[int, str, Path]:
    """Exit status, what was printed, and the folder of files."""
    out = tools.parent / "out"
    environment = os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHON": str(tools / "python"),
        "OUT": str(out),
    }
    environment |= {"SALT_SECONDS": str(seconds)}
    run = subprocess.run(["bash", SCRIPT, *parts], env=environment, capture_output=True, text=True, timeout=60)
    return run.returncode, run.stdout + run.stderr, out


@pytest.mark.parametrize("parts", [(), ("tests", "bench"), ("--dry-run",)])
def test_a_call_without_parts_or_with_unknown_ones_says_how(tools: Path, parts: tuple[str, ...]) -> None:
    status, said, _ = check(tools, *parts)
    assert status == 2
    assert "gpu_check.sh build tests benchmarks memory transfer\n" in said
    assert "set -euo" not in said


def test_every_part_has_a_file_and_a_line(tools: Path) -> None:
    write(tools / "python", 'echo "python did $*"')
    write(tools / "compute-sanitizer", 'echo "ERROR SUMMARY: 0 errors"')
    # The made-up Python answers every question about missing modules.
    # Time for all of them, however slow this machine is: a second gone would leave none to the first of 60.
    status, said, out = check(tools, "--dry-run", "build", "tests", "memory", "sanitizer", seconds=6000)
    assert status == 0, said
    table = (out / "gpu_check.md").read_text(encoding="utf-8")
    for part in ("build", "library", "tests", "memory", "memcheck", "racecheck", "initcheck"):
        assert f"| {part} | not run | " in table
        assert (out / f"{part}.log").stat().st_size > 0
    assert "Werror" not in said
    assert "track-filtered" not in said


@pytest.mark.parametrize("deaf", [False, True])
def test_what_hangs_is_stopped_and_the_rest_still_runs(tools: Path, deaf: bool) -> None:
    """Its first lines are in the file by then."""
    ignore = 'trap "" TERM;' if deaf else ""
    write(tools / "python", f'case "$*" in *perf*) {ignore} echo "so far"; sleep 100; sleep 100;; esac')
    begin = time.monotonic()
    status, said, out = check(tools, "build", "memory", seconds=5)
    assert time.monotonic() - begin < 20
    assert status == 1
    assert (out / "memory.log").read_text(encoding="utf-8") == "so far\n"
    assert "| memory | stopped after" in said
    assert "1 failures" in said


def test_a_process_that_nothing_ends_does_not_hold_the_script(tools: Path) -> None:
    """It left its group, and keeps the pipe to the file open."""
    write(tools / "python", 'case "$*" in *perf*) setsid sleep 30 & sleep 100;; esac')
    begin = time.monotonic()
    status, said, _ = check(tools, "build", "memory", seconds=3)
    assert time.monotonic() - begin < 25
    assert status != 0
    assert "given up" in said


def test_a_failed_build_ends_it(tools: Path) -> None:
    write(tools / "python", 'case "$*" in *pip*) echo "no compiler"; exit 3;; esac')
    status, said, out = check(tools, "build", "tests")
    assert status == 1
    assert "| build | failed, exit status 3 |" in said
    assert "no compiler" in (out / "build.log").read_text(encoding="utf-8")
    assert "| tests |" not in said


@pytest.mark.parametrize(
    ("report", "status", "words"),
    [
        (OURS + "========= ERROR SUMMARY: 1 error", 1, "failed: our kernels read what nothing wrote"),
        (THEIRS + "========= ERROR SUMMARY: 1 error", 0, "ERROR SUMMARY: 1 error, none of a kernel of ours"),
        ("========= ERROR SUMMARY: 0 errors", 0, "ERROR SUMMARY: 0 error, none of a kernel of ours"),
        ("========= ERROR SUMMARY: 7 errors", 1, "could not be read"),
        ("", 1, "could not be read (no summary)"),
    ],
)
def test_initcheck_is_judged_by_our_kernels(tools: Path, report: str, status: int, words: str) -> None:
    write(tools / "compute-sanitizer", f"case \"$*\" in *initcheck*) cat <<'END'\n{report}\nEND\n;; esac")
    found, said, _ = check(tools, "build", "sanitizer")
    assert found == status, said
    assert words in said
