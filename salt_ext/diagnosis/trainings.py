"""What distillation and adaptation did, where their figures lie in the folder.

A distillation leaves its part in salt_report.json, an adaptation a curve beside it: a file of JSON lines with `curve`
in its name. Whatever figures a line has are taken by name: those with `bits_per_byte` in it, and those with `loss` in
it, over `tokens`, else `step`, else the number of the line. A line that is none, such as half a line of a training that
was killed, is passed over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salt_ext.diagnosis.subject import Subject
from salt_ext.files.json_text import read_json

_MOST_BYTES = 32 << 20
_MOST_POINTS = 400
_PLACES = ("tokens", "step")
_BITS, _LOSS = "bits_per_byte", "loss"


@dataclass(frozen=True)
class Series:
    """A figure of a training.

    Attributes:
        label: its name in the file.
        points: (tokens, figure), at most 400 of them, evenly spread.
        before: the first.
        after: the last.
    """

    label: str
    points: tuple[tuple[float, float], ...]
    before: float
    after: float


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        name: "distillation", or the name of the curve's file.
        over: what the points count: "tokens", "step" or "line".
        bits: bits per byte, by the name of the text.
        losses: losses.
        facts: what else is known, (label, figure).
    """

    name: str
    over: str
    bits: tuple[Series, ...]
    losses: tuple[Series, ...]
    facts: tuple[tuple[str, str], ...]


def find_trainings(subject: Subject) -> tuple[Training, ...]:
    """The trainings whose figures lie in the folder, the distillation first."""
    found = [_distillation(subject.report.get("distillation"))]
    found += [_curve(file) for file in sorted(subject.folder.glob("*curve*.jsonl")) if file.is_file()]
    return tuple(each for each in found if each is not None)


def _distillation(part: Any) -> Training | None:
    if not isinstance(part, dict):
        return None
    lines = [line for line in part.get("curve") or () if isinstance(line, dict)]
    over, series = _series(lines, lambda name: name not in (*_PLACES, "seconds"))
    bits = part.get("bits_per_byte")
    before, after = (_number(bits.get(key)) for key in ("before", "after")) if isinstance(bits, dict) else (None, None)
    measured: tuple[Series, ...] = ()
    if before is not None and after is not None:
        end = max((points.points[-1][0] for points in series), default=1.0)
        measured = (Series("held-out text", ((0.0, before), (end, after)), before, after),)
    rows = part.get("rows")
    facts = (
        [(f"new rows {key}", f"{value:,}") for key, value in rows.items() if isinstance(value, int)]
        if isinstance(rows, dict)
        else []
    )
    moved = part.get("moved")
    if isinstance(moved, dict) and (middle := _number(moved.get("median"))) is not None:
        facts.append(("rows moved by, median", f"{middle:.2f} of their norm"))
    return Training("distillation", over, measured, series, tuple(facts))


def _curve(file: Path) -> Training | None:
    if file.stat().st_size > _MOST_BYTES:
        return None
    lines = []
    for line in file.read_bytes().splitlines():
        try:
            value = read_json(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            lines.append(value)
    over, bits = _series(lines, lambda name: _BITS in name)
    _, losses = _series(lines, lambda name: _LOSS in name)
    if not bits and not losses:
        return None
    phases = list(dict.fromkeys(str(line["trains"]) for line in lines if "trains" in line))
    facts = [("phases", ", ".join(phases))] if phases else []
    return Training(file.name, over, bits, losses, tuple(facts))


def _series(lines: Iterable[Mapping[str, Any]], wanted: Any) -> tuple[str, tuple[Series, ...]]:
    lines = list(lines)
    over = next((name for name in _PLACES if any(_number(line.get(name)) is not None for line in lines)), "line")
    points: dict[str, list[tuple[float, float]]] = {}
    for number, line in enumerate(lines):
        place = float(number) if over == "line" else _number(line.get(over))
        for name, value in line.items():
            figure = _number(value)
            if place is not None and figure is not None and name != over and wanted(name):
                points.setdefault(name, []).append((place, figure))
    return over, tuple(
        Series(name, tuple(_thinned(each)), each[0][1], each[-1][1]) for name, each in sorted(points.items())
    )


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Every n-th, and the last."""
    step = -(-len(points) // _MOST_POINTS)
    return [*points[:-1:step], points[-1]]


def _number(value: object) -> float | None:
    """A finite number; None of anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
