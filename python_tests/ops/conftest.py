"""What the op tests share: every numeric test runs on each instruction set that this CPU has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from salt_ext import _loader


def runnable_instruction_sets() -> list[str]:
    before = _loader.cpu_isa()
    found = []
    for name in ("portable", "avx2", "avx512"):
        try:
            _loader.set_cpu_isa(name)
        except ValueError:
            continue
        found.append(name)
    _loader.set_cpu_isa(before)
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Numeric tests get every table of kernels; those marked `any_isa` look at metadata only and run once."""
    if metafunc.definition.get_closest_marker("any_isa") or metafunc.config.getoption("--cuda-on-cpu"):
        metafunc.parametrize("isa", [_loader.cpu_isa()], indirect=True, ids=[""])
    else:
        metafunc.parametrize("isa", runnable_instruction_sets(), indirect=True)


@pytest.fixture(autouse=True)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Forces one table of kernels for the length of a test."""
    before = _loader.cpu_isa()
    _loader.set_cpu_isa(request.param)
    yield request.param
    _loader.set_cpu_isa(before)


@pytest.fixture(autouse=True)
def _same_seed_and_threads() -> Iterator[None]:
    """One thread: small tensors gain nothing from more. The tests about threads set their own number."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
