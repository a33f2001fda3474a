"""Facts and verdict to HTML: jinja2 with autoescape; every token and name is text, whatever letters it has."""

from __future__ import annotations

import math
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from salt_ext.diagnosis.facts import Facts
from salt_ext.diagnosis.page import charts
from salt_ext.diagnosis.projection import Point
from salt_ext.diagnosis.trainings import Training
from salt_ext.diagnosis.verdict import Verdict
from salt_ext.display.printing import printable

_FOLDER = Path(__file__).parent
# Rows of the token table that are there without the script, and on paper.
_SHOWN = 25
_LONGEST_TOKEN = 60
# Tokens with their names on the map, and how far out they lie, in the anchors' deviations.
_NAMED, _FAR = 8, 2.8
# A curve of two points says no more than its ends, which stand beside it.
_ENDS = 2


def render(facts: Facts, verdict: Verdict) -> str:
    """The page."""
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            facts=facts,
            verdict=verdict,
            style=_own("style.css"),
            script=_own("table.js"),
            version=version("salt-ext"),
            shown=_SHOWN,
            table={"names": [token_text(name) for name in facts.tokens.names], "rows": _table_rows(facts)},
            norms=_norms(facts),
            l1=_l1(facts),
            layers=_layers(facts),
            far=_far(facts),
            trainings=[(training, *_curves(training)) for training in facts.trainings],
        )
    )


@cache
def _environment() -> Environment:
    """Templates are compiled once in a process."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fixed": _fixed, "percent": _percent, "count": _count, "place": _place, "token": token_text}
    return environment


def token_text(text: str, most: int = _LONGEST_TOKEN) -> str:
    """What a token writes on one line: a space at either end shows as such, what a screen would obey as an escape."""
    shown = printable(text, most=most)
    inner = shown.strip(" ")
    if not inner:
        return "␣" * len(shown)
    begin = len(shown) - len(shown.lstrip(" "))
    return "␣" * begin + inner + "␣" * (len(shown) - begin - len(inner))


def _own(name: str) -> Markup:
    """A file of ours, which is no text but part of the page."""
    return Markup((_FOLDER / name).read_text(encoding="utf-8"))


def _table_rows(facts: Facts) -> list[list[Any]]:
    return [[row[0], token_text(row[1]), *row[2:]] for row in facts.tokens.rows]


def _norms(facts: Facts) -> charts.Chart | None:
    found = facts.rows.norms
    curves = [
        (style, label, charts.steps_of(found.edges, shares))
        for style, label, shares in (("grey", "anchors", found.anchors), ("new", "new rows", found.new))
        if shares
    ]
    return charts.line_chart(curves, height=220, from_zero=True)


def _l1(facts: Facts) -> charts.Chart | None:
    found = facts.rows.l1
    curves = [("new", "new rows", charts.steps_of(found.edges, found.new))] if found.new else []
    return charts.line_chart(curves, height=220, from_zero=True)


def _layers(facts: Facts) -> charts.Chart | None:
    if facts.states is None:
        return None
    names = (("grey", "behind anchors", "anchors"), ("new", "behind new tokens", "new"))
    curves = []
    for style, label, name in (*names, ("control", "control: new tokens read as the mean row", "control")):
        points = [(float(layer.number), getattr(layer, name)) for layer in facts.states.layers]
        curves.append((style, label, [(x, y) for x, y in points if y is not None]))
    return charts.line_chart(curves, width=760, height=280, from_zero=True)


def _far(facts: Facts) -> list[Point]:
    """The new tokens that are named on the map: those that lie farthest out, where hardly any anchor does."""
    points = [] if facts.map is None else facts.map.points
    far = [point for point in points if point.new and math.hypot(point.x, point.y) > _FAR]
    return sorted(far, key=lambda point: -math.hypot(point.x, point.y))[:_NAMED]


def _curves(training: Training) -> tuple[charts.Chart | None, str]:
    """Bits per byte where they were measured on the way, else losses, each as a share of its first value."""
    styles = ("new", "grey", "control")
    if any(len(series.points) > _ENDS for series in training.bits):
        shown = [(series.label, list(series.points)) for series in training.bits]
        title = "bits per byte"
    else:
        shown = [
            (series.label, [(x, y / series.before) for x, y in series.points])
            for series in training.losses
            if series.before
        ]
        title = "losses, each as a share of its first value"
    curves = [(style, label.replace("_", " "), points) for style, (label, points) in zip(styles, shown, strict=False)]
    return charts.line_chart(curves), title


def _place(cosine: float) -> float:
    """Where a cosine lies in the small pictures of a table, 260 wide, from -0.4 to 0.8."""
    return round(min(max((cosine + 0.4) / 1.2, 0.0), 1.0) * 248 + 6, 1)


def _fixed(value: float | None, digits: int = 2) -> str:
    return "none" if value is None else f"{value:.{digits}f}".replace("-", "−")  # noqa: RUF001


def _percent(value: float, digits: int = 0) -> str:
    return f"{value:.{digits}%}"


def _count(value: int) -> str:
    return f"{value:,}"
