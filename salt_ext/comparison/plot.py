"""The comparison as a picture: bits per byte and held-out cosine by method."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from salt_ext.comparison.method_spec import CONTROLS

if TYPE_CHECKING:
    from salt_ext.comparison.result import Comparison

NEEDED = "picture.png needs matplotlib, which is not installed: pip install 'salt-ext[plot]'"
# Differences of lightness, for every eye and for print; controls are grey.
_COLOURS = {False: ("#6baed6", "#08519c"), True: ("#b0b0b0", "#595959")}
# Around the figures, as a share of their range: room for the numbers beside the dots.
_MARGIN = 0.3


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return find_spec("matplotlib") is not None


def draw(comparison: Comparison, file: Path | IO[bytes]) -> None:
    """Writes a PNG: one panel for bits per byte, before and after the adaptation, one for the held-out cosine.

    Dots are means over seeds and lines standard deviations; axes do not begin at zero. The source with its own
    tokenizer is a dashed line where it lies in view.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [row.method for row in comparison.rows]
    figure = Figure(figsize=(11, 1.6 + 0.5 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    keys = [metric.key for metric in comparison.metrics if metric.key.startswith("bits_per_byte")]
    _dots(left, comparison, keys)
    _dots(right, comparison, ["held_out_cosine"])
    low, high = left.get_xlim()
    if low < comparison.source_bits_per_byte < high:
        left.axvline(comparison.source_bits_per_byte, color="black", linewidth=0.8, linestyle="--")
    shades = "pale: before training, dark: adapted; " if len(keys) > 1 else ""
    left.set_xlabel(f"bits per byte ({shades}lower is better)")
    right.set_xlabel("centred cosine of left-out anchors (higher is better)")
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.5, -0.5)
    figure.savefig(file, dpi=150, format="png")


def _dots(axes: Any, comparison: Comparison, keys: list[str]) -> None:
    """A dot for each method and key, its figure beside it, from the top."""
    shown = []
    for number, key in enumerate(keys):
        for place, row in enumerate(comparison.rows):
            mean = row.mean(key)
            if mean is None:
                continue
            colour = _COLOURS[row.method in CONTROLS][number or len(keys) == 1]
            # Two figures of one method lie a little apart, so that dots that meet are seen.
            where = place + 0.3 * (number - (len(keys) - 1) / 2)
            axes.errorbar(mean, where, xerr=row.std(key), fmt="o", color=colour, capsize=3)
            axes.annotate(f"{mean:.3f}", (mean, where), (9, 4), textcoords="offset points", fontsize=8, color=colour)
            shown.append(mean)
    margin = _MARGIN * (max(shown) - min(shown)) or _MARGIN
    axes.set_xlim(min(shown) - margin, max(shown) + margin)
    axes.grid(axis="x", color="#e5e5e5")
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
