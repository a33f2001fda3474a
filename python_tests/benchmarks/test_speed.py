"""No case is slower, beside its reference, than floors.toml says; and 1.5 times the work is too slow for all floors."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from cases import CASES
from harness import ROUNDS, Case, Race

pytestmark = pytest.mark.perf


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    if "two threads" in request.param and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    return CASES[request.param]()


def test_case_is_as_fast_as_its_floor(
    case: Case, benchmark: Any, floor_of: Callable[[str], float], tell: Callable[[str, float, float], None]
) -> None:
    floor = floor_of(case.name)
    race = Race(case)
    race.prepare()
    case.operation()  # first calls pay for memory and threads
    benchmark.pedantic(race.run, setup=race.prepare, rounds=ROUNDS)
    ratio = race.repeat_until(floor)
    benchmark.extra_info |= {"ratio": ratio, "floor": floor}
    tell(case.name, ratio, floor)
    case.check(race.result)
    assert ratio >= floor


def test_a_slowdown_of_a_half_is_caught(
    case: Case, floor_of: Callable[[str], float], tell: Callable[[str, float, float], None]
) -> None:
    """The verdict itself: the same case, the op doing half of its work once more, fails."""
    floor = floor_of(case.name)
    slow = Race(case.slowed())
    slow.prepare()
    slow.case.operation()
    ratio = slow.repeat_until(floor)
    tell(f"{case.name}, 1.5 x the work", ratio, floor)
    case.check(slow.result)
    assert ratio < floor
