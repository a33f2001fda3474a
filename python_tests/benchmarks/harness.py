"""Ratios of speed that a noisy machine cannot spoil: an op beside a reference, turn by turn in one process.

Time is the CPU time of the busiest thread (and of child processes), so what other programs take does not count; what
they do to clock and caches meets both sides alike, and the median of the rounds drops what meets only one.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import torch

ROUNDS = 7
BATCHES = 3


@dataclass(frozen=True)
class Case:
    """An op with what it is measured against.

    Attributes:
        name: Its name in floors.toml.
        operation: What is measured.
        half: Half of that work, which `slowed` adds to it.
        reference: Something whose time depends on the machine as that of the operation does.
        check: Raises AssertionError for a wrong result of the operation.
    """

    name: str
    operation: Callable[[], Any]
    half: Callable[[], Any]
    reference: Callable[[], Any]
    check: Callable[[Any], None]

    def slowed(self) -> Case:
        """The same case with an operation that does 1.5 times the work, and still gives the same result."""

        def operation() -> Any:
            self.half()
            return self.operation()

        return replace(self, operation=operation)


@dataclass
class Race:
    """Rounds of one case: `prepare` runs the reference, `run` the operation right after it."""

    case: Case
    ratios: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    result: Any = None
    _reference: float = 0.0

    def prepare(self) -> None:
        _, self._reference = timed(self.case.reference)

    def run(self) -> None:
        self.result, seconds = timed(self.case.operation)
        self.seconds.append(seconds)
        self.ratios.append(self._reference / seconds)

    def batch(self) -> None:
        for _ in range(ROUNDS):
            self.prepare()
            self.run()

    def ratio(self) -> float:
        """The median of the best batch: a slow op is slow in all of them, a disturbed one is not."""
        return max(median(self.ratios[i : i + ROUNDS]) for i in range(0, len(self.ratios), ROUNDS))

    def repeat_until(self, floor: float) -> float:
        """The ratio, after more batches where it is below the floor: an alarm is never the matter of one batch."""
        while not self.ratios or (self.ratio() < floor and len(self.ratios) < BATCHES * ROUNDS):
            self.batch()
        return self.ratio()


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the CPU seconds of the busiest thread, plus those of the child processes that ended."""
    threads, children = _threads(), _children()
    result = function()
    busiest = max(seconds - threads.get(thread, 0.0) for thread, seconds in _threads().items())
    return result, busiest + _children() - children


def _threads() -> dict[int, float]:
    """CPU seconds by thread."""
    seconds = {}
    for thread in map(int, os.listdir("/proc/self/task")):
        try:
            # Linux' name for the CPU clock of a thread of this process; see pthread_getcpuclockid(3).
            seconds[thread] = time.clock_gettime((~thread << 3) | 6)
        except OSError:  # it has just ended
            continue
    return seconds


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def with_threads(count: int, function: Callable[[], Any]) -> Callable[[], Any]:
    def run() -> Any:
        torch.set_num_threads(count)
        return function()

    return run


def again(times: int, function: Callable[[], Any]) -> Callable[[], Any]:
    """A short op long enough for the clock: the same thing some times over."""

    def run() -> Any:
        for _ in range(times - 1):
            function()
        return function()

    return run
