"""What a notebook shows: results as tables, and how far a job is.

Drawn as HTML by IPython itself, which every notebook has: no widgets, which some front ends lack and saved notebooks
lose.
"""

from __future__ import annotations

import html
import importlib
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from salt_ext.display.printing import printable

# Seconds between two drawings: a notebook keeps up with no more.
_PAUSE = 0.2


def in_notebook() -> bool:
    """Whether this process works for a notebook: IPython has a kernel there, and none in a terminal."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def html_table(
    title: object, headings: Sequence[object], rows: Iterable[Sequence[object]], notes: Iterable[object] = ()
) -> str:
    """A table with a title above it and a line below it for every note; every text is shown as it is."""
    shown = "".join(_line("td", row) for row in rows)
    below = "".join(f"<div>{_text(note)}</div>" for note in notes)
    return f"<div><b>{_text(title)}</b><table>{_line('th', headings)}{shown}</table>{below}</div>"


class NotebookBars:
    """A bar for every step, in the output of the cell that runs."""

    def __init__(self) -> None:
        self._steps: dict[str, tuple[int, int]] = {}
        self._last = 0.0
        self._handle: Any = None
        self._html: Any = None

    def __enter__(self) -> NotebookBars:
        display: Any = importlib.import_module("IPython.display")
        self._html = display.HTML
        self._handle = display.display(self._html(""), display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._draw()

    def show(self, step: str, done: int, total: int) -> None:
        """Tells how far a step is, see `salt_ext.runtime.progress.Progress`."""
        now = time.perf_counter()
        new = step not in self._steps
        self._steps[step] = (done, total)
        if new or done == total or now - self._last >= _PAUSE:
            self._draw()

    def _draw(self) -> None:
        self._last = time.perf_counter()
        rows = "".join(
            f"<tr><td>{_text(step)}</td><td>{_bar(done, total)}</td></tr>"
            for step, (done, total) in self._steps.items()
        )
        if self._handle is not None:  # None where the cell's output is captured
            self._handle.update(self._html(f"<table>{rows}</table>"))


def _bar(done: int, total: int) -> str:
    if not total:
        return "<progress></progress>"
    return f'<progress value="{done}" max="{total}"></progress> {done / total:.0%}'


def _line(kind: str, cells: Iterable[object]) -> str:
    # Front ends align cells to the right, which is wrong for words.
    return "<tr>" + "".join(f'<{kind} style="text-align: left">{_text(cell)}</{kind}>' for cell in cells) + "</tr>"


def _text(value: object) -> str:
    return html.escape(printable(value, most=400))
