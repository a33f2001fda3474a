"""Steps of a job: how long each took, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

# step, units done, units in all (0 where unknown); the same step may be told of many times.
Progress = Callable[[str, int, int], None]


class Clock:
    """Times the steps of a job and passes their progress on; of nested steps only the inner one runs."""

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._since = time.perf_counter()

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of every step up to now, in the order in which they began."""
        self._book()
        return dict(self._seconds)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times the block as the step `name`; a name that comes again adds up."""
        self._book()
        self._running.append(name)
        self._seconds.setdefault(name, 0.0)
        self.advance(0, 0)
        try:
            yield
            self.advance(1, 1)
        finally:
            self._book()
            self._running.pop()

    def advance(self, done: int, total: int) -> None:
        """Tells how far the running step is."""
        if self._progress is not None and self._running:
            self._progress(self._running[-1], done, total)

    def _book(self) -> None:
        now = time.perf_counter()
        if self._running:
            self._seconds[self._running[-1]] += now - self._since
        self._since = now


@contextmanager
def progress_bars(console: Console, *, quiet: bool) -> Iterator[Progress | None]:
    """Bars on a terminal; None, which means silence, in a pipe or when `quiet`.

    Args:
        console: where to draw.
        quiet: draw nothing.
    """
    if quiet or not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:<28}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bars(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=None)
            bars.update(tasks[step], completed=done, total=total or None)

        yield show


def quiet_downloads(quiet: bool) -> None:
    """Silences the hub's own bars, which come before any of ours."""
    if quiet:
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Silences the bars of `transformers` in the block."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
