"""What the op tests share: every numeric test runs on each instruction set that this CPU has, and on CUDA."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from salt_ext import backends
from salt_ext.ops import loader as _loader

CUDA = "cuda"
# The CUDA kernels have taken the place of the CPU's (cuda_on_cpu/emulator.cpp); tensors say that they lie on CUDA.
EMULATED = "cuda-on-cpu"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cuda: needs the CUDA kernels, on a GPU or with --cuda-on-cpu")
    config.addinivalue_line("markers", "cpu: about the CPU's kernels alone")
    config.addinivalue_line("markers", "torch_machinery: autograd or the compiler, which know no made-up device")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Numeric tests run on every table of CPU kernels and on CUDA; those marked `any_isa` on one table and on CUDA."""
    gpu = backends()["cuda"]
    if metafunc.definition.get_closest_marker("cpu"):
        emulated = metafunc.config.getoption("--cuda-on-cpu")
        marks = [pytest.mark.skip(reason="the CUDA kernels have taken the CPU's place")] if emulated else []
        homes: list[Any] = [pytest.param(_loader.cpu_isa(), marks=marks)]
    elif metafunc.config.getoption("--cuda-on-cpu"):
        homes = [EMULATED]
    elif metafunc.definition.get_closest_marker("cuda"):
        homes = [pytest.param(CUDA, marks=pytest.mark.skipif(not gpu.available, reason=gpu.reason or "there is CUDA"))]
    else:
        any_isa = metafunc.definition.get_closest_marker("any_isa")
        homes = [_loader.cpu_isa()] if any_isa else _loader.runnable_cpu_isas()
        homes += [CUDA] * gpu.available
    metafunc.parametrize("home", homes, indirect=True)


@pytest.fixture(autouse=True)
def home(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a test runs, "cuda" or the name of a table of CPU kernels; the tensors that it makes are born there."""
    name: str = request.param
    request.node.user_properties.append(("home", name))
    if name == EMULATED and request.node.get_closest_marker("torch_machinery"):
        yield name
    elif name == EMULATED:
        from made_up_device import made_up_cuda  # python_tests/conftest.py puts its folder on the path

        with made_up_cuda():
            yield name
    elif name == CUDA:
        torch.set_default_device(CUDA)
        yield name
        torch.set_default_device(None)
    else:
        before = _loader.cpu_isa()
        _loader.set_cpu_isa(name)
        yield name
        _loader.set_cpu_isa(before)


@pytest.fixture(autouse=True)
def _same_seed_and_threads() -> Iterator[None]:
    """One thread: small tensors gain nothing from more. The tests about threads set their own number."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
