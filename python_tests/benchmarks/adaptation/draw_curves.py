"""All curves that `curves.py` made in one picture: each language against tokens and CPU seconds, and English.

python draw_curves.py results/german results/vietnamese -o results/curves.svg
"""

from __future__ import annotations

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from summary import SOURCE, Curve, Language, read_arguments

# Arms of other names share what is left of matplotlib's colours.
COLOURS = {
    "salt-plus": "#d62728",
    "salt-plus + distill": "#ff9896",
    "salt-plus + rows": "#e377c2",
    "subword": "#1f77b4",
    "focus": "#2ca02c",
    "ofa": "#98df8a",
    "omp": "#9467bd",
    "salt": "#ff7f0e",
    "random": "#7f7f7f",
}
WORST = 1.5  # times the lowest start; what is higher is not shown


def main() -> None:
    chosen, languages = read_arguments(__doc__)
    panels = (("tokens", "bits_per_byte"), (chosen.clock, "bits_per_byte"), ("tokens", "source_bits_per_byte"))
    figure = Figure(figsize=(13, 4 * len(languages)), layout="constrained")
    FigureCanvasAgg(figure)
    for row, language in zip(figure.subplots(len(languages), len(panels), squeeze=False), languages, strict=True):
        for axes, (x, y) in zip(row, panels, strict=True):
            draw(axes, language, x, y)
            axes.set_xlabel("tokens" if x == "tokens" else f"{x.replace('_', ' ')} of updates", fontsize=8)
        row[0].set_ylabel(f"{language.name}: bits per byte", fontsize=9)
        row[2].set_ylabel("English: bits per byte", fontsize=9)
        row[0].legend(fontsize=7)
    figure.suptitle(
        "SmolLM2-135M moved and trained on; points are measured; dashed: the source unmoved; high starts are cut",
        fontsize=9,
    )
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "curves"}):  # the same file each time, and small
        metadata = {"Date": None} if chosen.output.suffix == ".svg" else None
        figure.savefig(chosen.output, dpi=110, metadata=metadata)


def draw(axes: Axes, language: Language, x: str, y: str) -> None:
    starts = [curve.values(y)[0] for arm in language.arms() for curve in language.curves[arm].values()]
    ends = [curve.last(y) for seeds in language.curves.values() for curve in seeds.values()]
    for arm in language.arms():
        for number, curve in enumerate(language.curves[arm].values()):
            label = arm if number == 0 else None
            axes.plot(*points(curve, x, y), ".-", color=COLOURS.get(arm), linewidth=1.2, markersize=4, label=label)
    axes.axhline(language.curves[SOURCE][0].last(y), color="black", linewidth=0.8, linestyle="--")
    axes.set_ylim(0.98 * min(ends), WORST * min(starts))
    axes.grid(color="#e5e5e5")
    axes.tick_params(labelsize=7)


def points(curve: Curve, x: str, y: str) -> tuple[list[float], list[float]]:
    measured = [point for point in curve.points if point[y]]
    return [float(point[x]) for point in measured], [float(point[y]) for point in measured]


if __name__ == "__main__":
    main()
