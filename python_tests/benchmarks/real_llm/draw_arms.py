"""The arms of a CSV that `arms.py` made as one picture: a panel for each arm, a row for each method.

python draw_arms.py results.csv -o results.svg [--methods "salt-plus,focus,mean,salt"]
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_LONG = 46
START, END = "#6baed6", "#08519c"  # pale: before training, dark: after the training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--worst", type=float, default=1.6, help="times the best start; what is worse is not drawn")
    parser.add_argument("--methods", help="only these, separated by commas")
    chosen = parser.parse_args()
    wanted = None if chosen.methods is None else chosen.methods.split(",")
    arms: dict[str, list[dict[str, str]]] = defaultdict(list)
    with chosen.results.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            if wanted is None or row["method"] in wanted or row["method"].startswith("the source"):
                arms[row["arm"]].append(row)
    most = max(len(rows) for rows in arms.values())
    figure = Figure(figsize=(4.4 * len(arms), 1.2 + 0.26 * most), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(arms), squeeze=False)[0]
    for axes, (arm, rows) in zip(panels, arms.items(), strict=True):
        own = [row for row in rows if row["method"].startswith("the source")]
        methods = sorted((row for row in rows if row not in own), key=lambda row: float(row["bits_per_byte"]))
        worst = chosen.worst * float(methods[0]["bits_per_byte"])
        for place, row in enumerate(methods):
            found = [float(row[key]) for key in ("bits_per_byte", "bits_per_byte_adapted") if row[key]]
            axes.plot([min(each, worst) for each in found], [place] * len(found), color="#c6dbef", zorder=1)
            for value, colour in zip(found, (START, END), strict=False):
                if value <= worst:
                    axes.plot(value, place, "o", color=colour)
            if found[0] > worst:
                axes.annotate(
                    f"{found[0]:.1f} \N{RIGHTWARDS ARROW}", (worst, place), fontsize=7, ha="right", va="center"
                )
        if own:
            axes.axvline(float(own[0]["bits_per_byte"]), color="black", linewidth=0.8, linestyle="--")
        names = [row["method"] if len(row["method"]) < _LONG else f"{row['method'][:_LONG]}..." for row in methods]
        axes.set_yticks(range(len(methods)), names, fontsize=7)
        axes.set_ylim(len(methods) - 0.5, -0.5)
        axes.set_title(arm, fontsize=9)
        axes.set_xlabel("bits per byte; dashed: the source", fontsize=8)
        axes.grid(axis="x", color="#e5e5e5")
    figure.suptitle("pale: before training, dark: after an equal short training", fontsize=8)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "arms"}):  # the same file each time, and small
        metadata = {"Date": None} if chosen.output.suffix == ".svg" else None
        figure.savefig(chosen.output, dpi=110, metadata=metadata)


if __name__ == "__main__":
    main()
