"""Steps of a job: how long each took, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from salt_ext.display.notebook import NotebookBars, in_notebook
from salt_ext.display.printing import console, printable
from salt_ext.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Task

# step, units done, units in all (0 where unknown); the same step may be told of many times.
Progress = Callable[[str, int, int], None]
# What a user may give: a function that is told; False for silence; True for bars; None for bars where a person looks
# on: in a notebook, and on a terminal.
Watching = Progress | bool | None
# Seconds over which a bar's speed is taken: a step of a large model may take a minute.
_SPEED_OVER = 600.0


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
def watched(progress: Watching, *, rate: str = "") -> Iterator[Progress | None]:
    """What a job's steps are to be told to while the block runs; None for nobody.

    Args:
        progress: see `Watching`.
        rate: the units of the longest step, such as "tokens": bars on a terminal then tell how many come in a second,
            and the time left.

    Raises:
        InputError: it is none of these.
    """
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise InputError(f"progress is {progress!r:.80}, expected a function, True, False or None")
    if progress is False:
        with quiet_downloads():
            yield None
    elif callable(progress):
        yield progress
    elif in_notebook():
        with NotebookBars() as bars:
            yield bars.show
    else:
        with terminal_bars(console(stderr=True), always=bool(progress), rate=rate) as show:
            if show is None:
                with quiet_downloads():
                    yield None
            else:
                yield show


@contextmanager
def terminal_bars(screen: Console, *, always: bool = False, rate: str = "") -> Iterator[Progress | None]:
    """Bars on a terminal; None, which means silence, in a pipe.

    Args:
        screen: where to draw.
        always: draw in a pipe too: every bar once, when all is done.
        rate: see `watched`.
    """
    if not (screen.is_terminal or always):
        yield None
        return
    from rich.progress import BarColumn, ProgressColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.progress import TimeRemainingColumn as Remaining

    # No markup: a step may have the name of a method with its options, as the user wrote them.
    name = TextColumn("{task.description:<28}", markup=False)
    columns: list[ProgressColumn] = [name, BarColumn(), TaskProgressColumn(), TimeElapsedColumn()]
    if rate:
        columns += [TextColumn("{task.fields[rate]}", markup=False), Remaining(compact=True)]
    with Bars(*columns, console=screen, speed_estimate_period=_SPEED_OVER) as bars:
        tasks: dict[str, Task] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                bars.add_task(printable(step), total=None, rate="")
                tasks[step] = bars.tasks[-1]
            task = tasks[step]
            bars.update(task.id, completed=done, total=total or None)
            if rate and total > 1 and task.speed:
                bars.update(task.id, rate=f"{task.speed:,.0f} {rate}/s")

        yield show


@contextmanager
def quiet_downloads() -> Iterator[None]:
    """Silences the hub's own bars in the block."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    shown = not are_progress_bars_disabled()
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()


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
