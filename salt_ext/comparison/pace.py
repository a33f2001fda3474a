"""How far a comparison is, and how long it will take, as sentences."""

from __future__ import annotations

import time

from salt_ext.display.duration import duration


class Pace:
    """Counts results that take about equally long.

    Args:
        total: results in all.
        done: those that an earlier run left.
    """

    def __init__(self, total: int, done: int) -> None:
        self._total, self._before, self._done = total, done, done
        self._begun = time.perf_counter()

    def begin(self) -> str:
        """The sentence of the beginning; time is counted from here."""
        self._begun = time.perf_counter()
        if not self._before:
            return f"{self._total} results to come"
        return f"{self._total} results to come, {self._before} of them there from an earlier run"

    def next(self, what: str) -> str:
        """The sentence of one more result."""
        self._done += 1
        gone = time.perf_counter() - self._begun
        left = gone / (self._done - self._before) * (self._total - self._done)
        rest = f", about {duration(left)} to go" if self._done < self._total else ""
        return f"{self._done} of {self._total}: {what} ({duration(gone)} gone{rest})"
