"""What all tests share."""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# No test may reach for the network, whatever the machine allows.
os.environ["HF_HUB_OFFLINE"] = "1"
# Code that comes with a test's model must not be copied into the user's cache; libraries read this when imported.
os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(prefix="salt-ext-tests-")
atexit.register(shutil.rmtree, os.environ["HF_MODULES_CACHE"], ignore_errors=True)
# A thread without work sleeps: it leaves the core to its neighbours, and benchmarks that count CPU time see work only.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Python processes that tests start must not take the source tree they are started in for the installed package.
os.environ["PYTHONSAFEPATH"] = "1"

# Each takes about a gigabyte of memory.
MOST_WORKERS = 8
REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cuda-on-cpu",
        action="store_true",
        help="run the operators' CUDA kernels on emulated threads of the CPU (see cuda_on_cpu/emulator.cpp)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite runs on all cores, where pytest-xdist is there; a choice of tests in this process."""
    worker, whole = hasattr(config, "workerinput"), config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if whole and not worker and not config.option.usepdb and getattr(config.option, "numprocesses", 0) is None:
        config.option.numprocesses = min(os.cpu_count() or 1, MOST_WORKERS)


@pytest.hookimpl(tryfirst=True)  # before markers are chosen by
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real tokenizers and models are large: what reads them is slow."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("slow")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--cuda-on-cpu"):
        load_cuda_on_cpu()


def load_cuda_on_cpu() -> None:
    """Builds the CUDA kernels for the CPU and puts them in the place of the CPU's own, for the rest of this process."""
    import torch

    import salt_ext  # noqa: F401  (the schemas)

    folder = Path(os.environ.get("SALT_CUDA_ON_CPU_BUILD") or Path(tempfile.gettempdir()) / "salt-cuda-on-cpu")
    source = Path(__file__).with_name("cuda_on_cpu")
    sys.path.append(str(source))  # for made_up_device.py, whose tensors these tests get
    environment = os.environ | {"SALT_TORCH_DIR": str(Path(torch.__file__).parent)}
    # SALT_SANITIZE=address finds kernels that leave their memory; Python then needs LD_PRELOAD=libasan.so.
    sanitize = f"-DSALT_SANITIZE={os.environ.get('SALT_SANITIZE', '')}"
    configure = ["cmake", "-S", source, "-B", folder, f"-DPython_EXECUTABLE={sys.executable}", sanitize]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:  # one process of pytest-xdist builds, the others wait
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (configure, ["cmake", "--build", folder]):
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    for name in ("libsalt_cuda_on_cpu.so", "libsalt_device_guard.so"):
        torch.ops.load_library(str(folder / name))
    # Every new tensor, work space included, starts as NaN: what is read before it is written shows.
    torch.use_deterministic_algorithms(True, warn_only=True)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real tokenizers, models and text, which is no part of the project."""
    folder = Path(os.environ.get("SALT_REAL_DATA") or REPOSITORY.parent / "shared" / "real")
    if not folder.is_dir():
        pytest.skip(f"real data not found in {folder}; name its folder with SALT_REAL_DATA")
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Models as small as those of the tests gain nothing from threads, and lose much on a machine that is busy."""
    import torch

    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)
