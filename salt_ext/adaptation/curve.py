"""The curve of a training: a line of JSON for each loss and each measurement, as they come.

Every line has `phase` (from 1), `trains`, `step` (of the phase), `tokens` (of the whole training) and `seconds` (of
updates alone, measuring and saving left out); and either `loss` (nats per token, mean since the line before),
`learning_rate`, `grad_norm` and `tokens_per_second`, or `bits_per_byte` and `eval_loss` (nats per token), and the same
with `source_` before them for the source's language.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from salt_ext.errors import OutputError

NEEDED = "the curve's picture needs matplotlib, which is not installed: pip install 'salt-ext[adapt]'"
_COLOURS = {"bits_per_byte": "#08519c", "source_bits_per_byte": "#b0b0b0", "loss": "#6baed6"}
_LABELS = {"bits_per_byte": "new language", "source_bits_per_byte": "source's language", "loss": "training loss"}


class Curve:
    """A curve in a file, from which a training that was cut off goes on.

    Args:
        file: it need not exist; half a line at its end is forgotten.

    Attributes:
        lines: all of them.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.lines: list[dict[str, Any]] = []
        for line in file.read_bytes().splitlines(keepends=True) if file.exists() else ():
            if line.endswith(b"\n"):
                self.lines.append(json.loads(line))

    @property
    def seconds(self) -> float:
        """Of updates, up to the last line."""
        return float(self.lines[-1]["seconds"]) if self.lines else 0.0

    def keep(self, phase: int, step: int) -> None:
        """Forgets what came behind a checkpoint.

        Raises:
            OutputError: the file cannot be written.
        """
        self.lines = [line for line in self.lines if (line["phase"], line["step"]) <= (phase, step)]
        try:
            draft = self._file.with_name(f".{self._file.name}")
            self.copy(draft)
            draft.replace(self._file)
        except OSError as error:
            raise self._failed(error) from error

    def add(self, line: Mapping[str, Any]) -> None:
        """Adds a line, on the disk before this returns.

        Raises:
            OutputError: the file cannot be written.
        """
        self.lines.append(dict(line))
        try:
            with self._file.open("a", encoding="utf-8") as out:
                out.write(_written(line))
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            raise self._failed(error) from error

    def measured(self) -> list[dict[str, Any]]:
        """The lines of measurements."""
        return [line for line in self.lines if "bits_per_byte" in line]

    def copy(self, file: Path) -> None:
        """Writes all lines to another file."""
        file.write_text("".join(map(_written, self.lines)), encoding="utf-8")

    def _failed(self, error: OSError) -> OutputError:
        return OutputError(f"the curve cannot be written to {self._file}: {error.strerror}; the same command goes on")


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(curve: Curve, file: Path) -> None:
    """Writes a PNG: bits per byte above, the training loss below, over tokens; a line where a phase begins."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, keys, label in (
        (upper, ("bits_per_byte", "source_bits_per_byte"), "bits per byte"),
        (lower, ("loss",), "loss, nats per token"),
    ):
        for key in keys:
            points = [(line["tokens"], line[key]) for line in curve.lines if key in line]
            if points:
                marker = "o" if axes is upper else ""
                axes.plot(*zip(*points, strict=True), color=_COLOURS[key], label=_LABELS[key], marker=marker)
        axes.set_ylabel(label)
        axes.grid(color="#e5e5e5")
        for begin in _begins(curve):
            axes.axvline(begin, color="black", linewidth=0.8, linestyle="--")
    upper.legend(frameon=False)
    lower.set_xlabel("tokens")
    figure.savefig(file, dpi=150, format="png")


def _begins(curve: Curve) -> list[int]:
    """Tokens that were read when the second and later phases began."""
    ends: dict[int, int] = {}
    for line in curve.lines:
        ends[line["phase"]] = line["tokens"]
    return list(ends.values())[:-1]


def _written(line: Mapping[str, Any]) -> str:
    return json.dumps(line) + "\n"
