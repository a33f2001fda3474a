"""The operators under the address and undefined-behaviour sanitizers: their tests and the hostile calls.

Builds the CPU library with GCC's sanitizers beside a copy of the package, and runs `python_tests/ops` with that copy on
every instruction set that this machine has. A finding ends the process in which it is made: its report is printed, the
test counts as failed, and the exit code is 1.

    python python_tests/sanitize.py [FOLDER]

FOLDER keeps the build for the next time. SALT_FUZZ is the number of hostile calls on each instruction set. Needs
cmake and pytest-xdist.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[1]
SANITIZERS = "address,undefined,float-cast-overflow"
HOSTILE_CALLS = "1500"
# What runs before any kernel or starts processes of its own has nothing to show here.
LEFT_OUT = ["test_cuda.py", "test_devices.py", "test_memory_limits.py"]


def build(folder: Path) -> Path:
    """Compiles into `folder` and returns a folder to import the package from."""
    configure = ["cmake", "-S", REPOSITORY, "-B", folder / "build", "-DSALT_CUDA=OFF"]
    configure += ["-DCMAKE_BUILD_TYPE=None", "-DCMAKE_CXX_FLAGS=-O1", f"-DSALT_SANITIZE={SANITIZERS}"]
    configure += [f"-DPython_EXECUTABLE={sys.executable}", "-DSKBUILD_PROJECT_VERSION=0"]
    environment = os.environ | {"SALT_TORCH_DIR": str(Path(torch.__file__).parent), "SALT_CUDA": "OFF"}
    environment |= {"SALT_SANITIZE": SANITIZERS, "SALT_WERROR": "OFF"}  # these come before what is given with -D
    for command in (configure, ["cmake", "--build", folder / "build", "--parallel", "2"]):
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    package = folder / "import"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(REPOSITORY / "salt_ext", package / "salt_ext", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    subprocess.run(["cmake", "--install", folder / "build", "--prefix", package], check=True, stdout=subprocess.DEVNULL)
    return package


def environment_with(package: Path) -> dict[str, str]:
    """Python in which `package` hides what is installed; the sanitizers' runtime must be there before Python itself."""
    compiler = os.environ.get("CXX", "g++")
    runtime = [
        subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    return os.environ | {
        "PYTHONPATH": str(package),
        "PYTHONSAFEPATH": "1",
        "LD_PRELOAD": " ".join(runtime),
        # Python frees nothing when it ends, and what does not fit into memory is an error of torch's.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_abort=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "SALT_FUZZ": os.environ.get("SALT_FUZZ", HOSTILE_CALLS),
    }


def check_package(package: Path, environment: dict[str, str]) -> None:
    script = "import salt_ext.ops.loader as loader; print(loader.find_library('libsalt_ops.so'))"
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    library = found.stdout.strip()
    if Path(library).parent != package / "salt_ext":
        sys.exit(f"the tests would run on {library}: uninstall an editable salt-ext first")


def report(file: Path) -> int:
    """Prints a line for each instruction set; returns how many tests failed."""
    tests: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    findings: Counter[str] = Counter()
    for case in ElementTree.parse(file).iter("testcase"):
        if case.find("skipped") is not None:
            continue
        told = {entry.get("name"): entry.get("value") for entry in case.iter("property")}
        home = told.get("home") or "unknown"
        tests[home] += 1
        calls[home] += int(told.get("calls") or 0)
        findings[home] += case.find("failure") is not None or case.find("error") is not None
    print(f"{'instruction set':<16}{'tests':>8}{'hostile calls':>16}{'findings':>10}")
    for home in tests:
        print(f"{home:<16}{tests[home]:>8}{calls[home]:>16}{findings[home]:>10}")
    return findings.total()


def main() -> int:
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        package = build(Path(sys.argv[1] if len(sys.argv) > 1 else scratch).resolve())
        built = time.monotonic()
        environment = environment_with(package)
        check_package(package, environment)
        results = Path(scratch) / "results.xml"
        # Reports are written by the process itself, past Python: --capture=sys leaves them where they can be seen.
        command = [sys.executable, "-m", "pytest", "python_tests/ops", "-q", "-n", "2", "--dist", "worksteal"]
        command += ["--capture=sys", "-p", "no:cacheprovider", f"--junitxml={results}"]
        command += [f"--ignore=python_tests/ops/{name}" for name in LEFT_OUT]
        ended = subprocess.run(command, cwd=REPOSITORY, env=environment).returncode
        findings = report(results)
    print(f"built in {built - begin:.0f} s, run in {time.monotonic() - built:.0f} s")
    return 1 if ended or findings else 0


if __name__ == "__main__":
    sys.exit(main())
