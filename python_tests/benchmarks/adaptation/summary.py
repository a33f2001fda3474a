"""What the curves of `curves.py` say, computed from its CSV: a table of all arms, and sentences for each language.

    python summary.py results/german results/vietnamese -o results/summary.csv

Between two measured points a curve is taken as a straight line. Curves fall steeper first, so that what is read between
points is rather too late than too early; and the learning rate there is not yet that of an arm's end. Arms with several
seeds are compared seed by seed, and their figures are means.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev

from points import read_csv

BASELINE, BEST, PUBLISHED, SOURCE = "subword", "salt-plus", "salt", "the source"
# Other work on the machine does not lengthen CPU seconds; on a GPU those on the wall count.
CLOCKS = ("cpu_seconds", "seconds")
# What is held against the published formula.
RIVALS = ("focus", "ofa", "subword", "random")
FIXED = ("arm", "seed", "tokens", "seconds", "cpu_seconds", "bits_per_byte", "source_bits_per_byte")


@dataclass(frozen=True)
class Curve:
    """The points of one arm and seed."""

    points: list[dict[str, str]]

    def values(self, name: str) -> list[float]:
        return [float(point[name]) for point in self.points if point[name]]

    def last(self, name: str) -> float:
        return self.values(name)[-1]

    def reaches(self, bits: float, axis: str) -> float | None:
        """Tokens or seconds at which the curve first comes down to so many bits per byte; None where it never does."""
        found = list(zip(self.values(axis), self.values("bits_per_byte"), strict=True))
        if found[0][1] <= bits:
            return found[0][0]
        for (x, above), (to, below) in pairwise(found):
            if below <= bits:
                return x + (to - x) * (above - bits) / (above - below)
        return None

    def at(self, place: float, axis: str) -> float:
        """Bits per byte at a place on an axis, which is not behind the curve's end."""
        found = list(zip(self.values(axis), self.values("bits_per_byte"), strict=True))
        for (x, left), (to, right) in pairwise(found):
            if x <= place <= to and to > x:
                return left + (right - left) * (place - x) / (to - x)
        return found[-1][1]


@dataclass(frozen=True)
class Language:
    """All finished arms of a folder."""

    name: str
    domains: list[str]
    curves: dict[str, dict[int, Curve]]
    clock: str

    @classmethod
    def read(cls, folder: Path, clock: str = CLOCKS[0]) -> Language:
        done = {(row["arm"], row["seed"]) for row in read_csv(folder / "runs.csv")}
        points: dict[str, dict[int, list[dict[str, str]]]] = defaultdict(lambda: defaultdict(list))
        rows = [row for row in read_csv(folder / "points.csv") if (row["arm"], row["seed"]) in done]
        for row in rows:
            points[row["arm"]][int(row["seed"])].append(row)
        curves = {arm: {seed: Curve(each) for seed, each in seeds.items()} for arm, seeds in points.items()}
        return cls(folder.name.capitalize(), [name for name in rows[0] if name not in FIXED], curves, clock)

    def arms(self) -> list[str]:
        """All but the source, the lowest end first."""
        return sorted((arm for arm in self.curves if arm != SOURCE), key=lambda arm: self.mean(arm, "bits_per_byte"))

    def mean(self, arm: str, name: str) -> float:
        """Of the ends of all seeds."""
        return fmean(curve.last(name) for curve in self.curves[arm].values())

    def pairs(self, arm: str, other: str) -> list[tuple[Curve, Curve]]:
        """The two arms' curves of equal seeds."""
        both = self.curves[arm].keys() & self.curves.get(other, {}).keys()
        return [(self.curves[arm][seed], self.curves[other][seed]) for seed in sorted(both)]

    def until_baseline(self, arm: str, axis: str) -> float | None:
        """Tokens or seconds until the baseline's end is reached; None where one seed does not."""
        return _mean(curve.reaches(base.last("bits_per_byte"), axis) for curve, base in self.pairs(arm, BASELINE))

    def equal_seconds(self, arm: str) -> tuple[float | None, float | None, float | None]:
        """Seconds, and what the arm and the best start have then, where the shorter of the two ends."""
        found = []
        for curve, best in self.pairs(arm, BEST):
            end = min(curve.last(self.clock), best.last(self.clock))
            found.append((end, curve.at(end, self.clock), best.at(end, self.clock)))
        return (_mean(f[0] for f in found), _mean(f[1] for f in found), _mean(f[2] for f in found))

    def row(self, arm: str) -> dict[str, object]:
        curves = list(self.curves[arm].values())
        ends = [curve.last("bits_per_byte") for curve in curves]
        seconds, own, best = self.equal_seconds(arm)
        return {
            "language": self.name,
            "arm": arm,
            "seeds": len(curves),
            "tokens": round(self.mean(arm, "tokens")),
            self.clock: round(self.mean(arm, self.clock)),
            "start": _show(fmean(curve.values("bits_per_byte")[0] for curve in curves)),
            "end": _show(fmean(ends)),
            "end_std": _show(stdev(ends)) if len(ends) > 1 else "",
            "domains": " ".join(f"{name}={self.mean(arm, name):.3f}" for name in self.domains),
            "source_start": _show(fmean(curve.values("source_bits_per_byte")[0] for curve in curves)),
            "source_end": _show(self.mean(arm, "source_bits_per_byte")),
            "tokens_to_subword_end": _round(self.until_baseline(arm, "tokens")),
            "seconds_to_subword_end": _round(self.until_baseline(arm, self.clock)),
            "equal_seconds": _round(seconds),
            "then": _show(own),
            "then_salt_plus": _show(best),
        }

    def sentences(self) -> list[str]:
        """What the data support, also where it is not what the paper says."""
        arms = [arm for arm in self.arms() if "+ " not in arm]
        ends = {arm: self.mean(arm, "bits_per_byte") for arm in self.curves}
        tokens = round(self.mean(arms[0], "tokens"))
        order = ", ".join(f"{arm} {ends[arm]:.3f}" for arm in arms)
        found = [
            f"{self.name}, all weights, bits per byte after {tokens:,} tokens: {order}; the source {ends[SOURCE]:.3f}."
        ]
        if BASELINE in arms:
            found += [self.reached(arm) for arm in self.arms() if arm != BASELINE]
        found += [self.beside_best(arm) for arm in self.arms() if arm not in arms]
        if PUBLISHED in arms:
            rivals = [arm for arm in RIVALS if arm in arms]
            beaten = [arm for arm in rivals if ends[PUBLISHED] < ends[arm]]
            lost = [arm for arm in rivals if arm not in beaten]
            found.append(
                f"SALT as published ends lower than {_names(beaten)} and higher than {_names(lost)}: its claim of a "
                f"lower loss than all of them {'is not' if lost else 'is'} seen here."
            )
        return found

    def reached(self, arm: str) -> str:
        reached, end = self.until_baseline(arm, "tokens"), self.mean(BASELINE, "tokens")
        if reached is None:
            return f"{arm} does not reach the end of {BASELINE}."
        return f"{arm} reaches the end of {BASELINE} after {reached:,.0f} tokens, {1 - reached / end:.0%} fewer."

    def beside_best(self, arm: str) -> str:
        seconds, own, best = (value or 0.0 for value in self.equal_seconds(arm))
        clock = self.clock.replace("_", " ")
        return f"After {seconds:.0f} {clock} {arm} has {own:.3f}, {BEST} with all weights {best:.3f}."


def read_arguments(description: str) -> tuple[argparse.Namespace, list[Language]]:
    """The command line of whatever reads the results: folders, --output and --clock."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--clock", choices=CLOCKS, default=CLOCKS[0])
    chosen = parser.parse_args()
    return chosen, [Language.read(folder, chosen.clock) for folder in chosen.folders]


def main() -> None:
    chosen, languages = read_arguments(__doc__)
    rows = [language.row(arm) for language in languages for arm in language.arms()]
    with chosen.output.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    for language in languages:
        print(markdown([language.row(arm) for arm in language.arms()]))
        print(*language.sentences(), sep="\n")


def markdown(rows: Sequence[dict[str, object]]) -> str:
    """The rows as the table that the pages have."""
    lines = [f"| {' | '.join(names)} |" for names in (list(rows[0])[1:], ["---"] * (len(rows[0]) - 1))]
    lines += [f"| {' | '.join(str(value) for name, value in row.items() if name != 'language')} |" for row in rows]
    return "\n".join(lines) + "\n"


def _mean(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return fmean(known) if known and len(known) == len(found) else None


def _show(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _round(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _names(arms: Sequence[str]) -> str:
    return ", ".join(arms) or "none"


if __name__ == "__main__":
    main()
