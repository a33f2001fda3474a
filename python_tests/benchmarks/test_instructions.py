"""The noise-free second opinion: no op takes more instructions for a small call than instructions.toml says."""

from __future__ import annotations

import platform

import counted
import pytest

pytestmark = pytest.mark.perf


@pytest.fixture(scope="module")
def counts() -> dict[str, int]:
    if platform.machine() != "x86_64":
        pytest.skip("the budgets are x86-64's")
    if lack := counted.missing():
        pytest.skip(lack)
    return counted.count()


@pytest.mark.parametrize("isa", counted.INSTRUCTION_SETS)
@pytest.mark.parametrize("op", ["cosine_sparsemax", "cosine_topk", "lstsq_weights", "csr_matmul", "omp", "transfer"])
def test_instructions_stay_within_the_budget(op: str, isa: str, counts: dict[str, int]) -> None:
    name = f"{op}, {isa}"
    budget = counted.budgets().get(counted.compiler(), {}).get(name)
    if budget is None:
        pytest.skip(f"instructions.toml has no {name!r} for {counted.compiler()!r}: run counted.py --write")
    assert counts[name] <= counted.TOLERANCE * budget
    # A budget that is far too high would let the next slowdown through.
    assert budget <= counted.TOLERANCE * counts[name], "faster than its budget: run counted.py --write"
