"""What a comparison found, and its CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salt_ext.comparison.table import html_comparison
from salt_ext.errors import OutputError
from salt_ext.files.json_text import json_text
from salt_ext.files.output_file import check_output_file, write_anew

CSV_FILE, JSON_FILE, PICTURE_FILE = "table.csv", "table.json", "picture.png"


@dataclass(frozen=True)
class Metric:
    """A column of the table.

    Attributes:
        key: its name in CSV and JSON.
        heading: on the terminal.
        meaning: one line; which direction is better, where one is.
        digits: behind the point, on the terminal.
        scale: what the figure is divided by on the terminal.
    """

    key: str
    heading: str
    meaning: str
    digits: int
    scale: float = 1.0


METRICS = (
    Metric("seconds", "s", "seconds to make the plan and the new input table, tables read before; lower is better", 2),
    Metric("memory_bytes", "MB", "peak of resident memory above what was there before; lower is better", 0, 1e6),
    Metric("held_out_cosine", "cosine", "of left-out anchors' made and true rows, centred; higher is better", 3),
    Metric("reciprocal_rank", "1/rank", "mean reciprocal rank of a left-out anchor's true row; higher is better", 3),
    Metric("norm_ratio", "norm", "of left-out anchors' rows, made over true; 1 is best", 2),
    Metric("bits_per_byte", "bits/byte", "of the moved model on the text; lower is better", 3),
    Metric("bits_per_byte_adapted", "adapted", "bits per byte after the adaptation; lower is better", 3),
)


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        method: as the user wrote it.
        figures: by the key of a metric, one figure for each seed; a metric that was not measured is absent.
    """

    method: str
    figures: Mapping[str, tuple[float, ...]]

    def mean(self, key: str) -> float | None:
        """Over the seeds; None where it was not measured."""
        return statistics.fmean(self.figures[key]) if key in self.figures else None

    def std(self, key: str) -> float | None:
        """Sample standard deviation over the seeds; None for fewer than two."""
        figures = self.figures.get(key, ())
        return statistics.stdev(figures) if len(figures) > 1 else None


@dataclass(frozen=True, repr=False)
class Comparison:
    """The table of a comparison.

    Attributes:
        rows: one for each method, in the order that was asked for, controls behind.
        source_bits_per_byte: of the source with its own tokenizer on the same text.
        facts: the inputs, options and sizes; JSON values.
        warnings: sentences for the user.
    """

    rows: tuple[Row, ...]
    source_bits_per_byte: float
    facts: Mapping[str, Any]
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        methods = ", ".join(row.method for row in self.rows)
        measured = ", ".join(metric.key for metric in self.metrics)
        return f"Comparison(methods: {methods}; measured: {measured})"

    def _repr_html_(self) -> str:
        return html_comparison(self)

    @property
    def metrics(self) -> list[Metric]:
        """Those that were measured, in the order of the table."""
        return [metric for metric in METRICS if any(metric.key in row.figures for row in self.rows)]

    def csv(self) -> str:
        """One line for each method: its name, and for each metric the mean and the standard deviation over seeds."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        keys = [metric.key for metric in self.metrics]
        writer.writerow(["method", *(name for key in keys for name in (key, f"{key}_std"))])
        for row in self.rows:
            writer.writerow([row.method, *(figure for key in keys for figure in (row.mean(key), row.std(key)))])
        return text.getvalue()

    def as_json(self) -> dict[str, Any]:
        """Everything, each seed's figures included."""
        return {
            "methods": [
                {
                    "method": row.method,
                    "mean": {key: row.mean(key) for key in row.figures},
                    "std": {key: row.std(key) for key in row.figures},
                    "by_seed": {key: list(figures) for key, figures in row.figures.items()},
                }
                for row in self.rows
            ],
            "source_bits_per_byte": self.source_bits_per_byte,
            "metrics": {metric.key: metric.meaning for metric in self.metrics},
            "warnings": list(self.warnings),
            **self.facts,
        }

    def write(self, folder: Path) -> None:
        """Writes table.csv, table.json and, where matplotlib is installed, picture.png, over an older comparison's.

        Raises:
            OutputError: the folder or a file cannot be written, see `make_folder`.
        """
        from salt_ext.comparison.plot import can_draw, draw

        make_folder(folder)
        write_anew(folder / CSV_FILE, self.csv().encode(), what="the comparison")
        write_anew(folder / JSON_FILE, json_text(self.as_json()).encode(), what="the comparison")
        if can_draw():
            image = io.BytesIO()
            draw(self, image)
            write_anew(folder / PICTURE_FILE, image.getvalue(), what="the comparison")


def make_folder(folder: Path, *, inputs: Sequence[Path] = ()) -> None:
    """Makes the folder of the results, if it is not there: to be called before the work that fills it.

    Args:
        folder: the folder.
        inputs: files that are read and must survive.

    Raises:
        OutputError: it cannot be made or written to, or files of these names lie there that are no comparison's.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be made: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {folder} cannot be written to")
    ours = _is_comparison(folder / JSON_FILE)
    for name in (CSV_FILE, JSON_FILE, PICTURE_FILE):
        if os.path.lexists(folder / name) and not ours:
            raise OutputError(f"{folder / name} exists and is no comparison's; choose another folder")
        check_output_file(folder / name, what="the result", inputs=inputs, force=True)


def _is_comparison(file: Path) -> bool:
    """Whether a file is what `Comparison.write` writes as JSON."""
    try:
        stored = json.loads(file.read_bytes()) if file.is_file() else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(stored, dict) and {"methods", "metrics", "source_bits_per_byte"} <= stored.keys()
