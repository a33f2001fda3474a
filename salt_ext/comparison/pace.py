"""How far a comparison is, and how long it will take, as sentences."""

from __future__ import annotations

import time


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
        rest = f", about {_duration(left)} to go" if self._done < self._total else ""
        return f"{self._done} of {self._total}: {what} ({_duration(gone)} gone{rest})"


def _duration(seconds: float) -> str:
    """In the two largest units that it fills: 7 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
