"""Times of steps add up to the time that passed."""

from __future__ import annotations

import io
import time

import pytest
from rich.console import Console

from salt_ext.progress import Clock, progress_bars


def test_nested_steps_share_the_time():
    clock = Clock()
    begin = time.perf_counter()
    with clock.step("outer"):
        time.sleep(0.02)
        with clock.step("inner"):
            time.sleep(0.05)
            running = clock.seconds
        time.sleep(0.02)
    passed = time.perf_counter() - begin
    assert 0.04 <= running["inner"] + running["outer"] <= passed
    seconds = clock.seconds
    assert list(seconds) == ["outer", "inner"]
    assert seconds["inner"] >= 0.05
    assert 0.04 <= seconds["outer"] < passed - 0.045
    assert sum(seconds.values()) == pytest.approx(passed, abs=0.01)


def test_a_step_that_fails_is_timed_too():
    clock = Clock()
    with pytest.raises(KeyError), clock.step("one"):
        raise KeyError
    assert clock.seconds.keys() == {"one"}


def test_no_bars_without_a_terminal():
    pipe, terminal = Console(file=io.StringIO()), Console(file=io.StringIO(), force_terminal=True)
    for console, quiet in ((pipe, False), (terminal, True)):
        with progress_bars(console, quiet=quiet) as progress:
            assert progress is None
