"""Places of marks in a chart, in the units of an SVG; the templates draw them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Points = Sequence[tuple[float, float]]
# Room for the numbers along the axes.
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 14.0, 12.0, 34.0


@dataclass(frozen=True)
class Line:
    """A curve: its class of style, its name, the path, and its end."""

    style: str
    label: str
    path: str
    end: tuple[float, float]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, and what is written beside it."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A plane with axes.

    Attributes:
        width: of the whole.
        height: likewise.
        frame: left, top, right and bottom of the plane.
        x_ticks: along the bottom.
        y_ticks: along the left.
        lines: curves in it.
    """

    width: float
    height: float
    frame: tuple[float, float, float, float]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


def line_chart(
    curves: Sequence[tuple[str, str, Points]], *, width: float = 620, height: float = 260, from_zero: bool = False
) -> Chart | None:
    """Curves, each (style, label, points) with at least one point; None where there is none."""
    curves = [curve for curve in curves if curve[2]]
    if not curves:
        return None
    xs, ys = ([point[axis] for _, _, points in curves for point in points] for axis in (0, 1))
    low, high = (min(0.0, *ys) if from_zero else min(ys)), max(ys)
    x_marks, y_marks = nice_ticks(min(xs), max(xs), 8), nice_ticks(low, high, 5)
    bottom, top = min(low, y_marks[0]), max(high, y_marks[-1])
    left, right = min(xs), max(xs)
    frame = (_LEFT, _TOP, width - _RIGHT, height - _BOTTOM)

    def x_of(x: float) -> float:
        return frame[0] + (x - left) / ((right - left) or 1.0) * (frame[2] - frame[0])

    def y_of(y: float) -> float:
        return frame[3] - (y - bottom) / ((top - bottom) or 1.0) * (frame[3] - frame[1])

    lines = []
    for style, label, points in curves:
        placed = [(x_of(x), y_of(y)) for x, y in points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        lines.append(Line(style, label, path, placed[-1]))
    return Chart(
        width,
        height,
        frame,
        tuple(Tick(x_of(mark), brief_number(mark)) for mark in x_marks if left <= mark <= right),
        tuple(Tick(y_of(mark), brief_number(mark)) for mark in y_marks),
        tuple(lines),
    )


def steps_of(edges: Sequence[float], shares: Sequence[float]) -> Points:
    """The outline of a histogram."""
    corners = [(edges[0], 0.0)]
    for begin, end, share in zip(edges, edges[1:], shares, strict=False):
        corners += [(begin, share), (end, share)]
    return [*corners, (edges[-1], 0.0)]


def nice_ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers that cover a range, about `most` of them at most."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def brief_number(value: float) -> str:
    """A number beside an axis: 0.25, 1.5, 12,000, 3M."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:g}M"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:g}"
