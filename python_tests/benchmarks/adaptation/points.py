"""What `curves.py` writes: points of curves and finished runs as CSV, and the stopwatch of their seconds."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RUN = ("arm", "seed")


class Stopwatch:
    """Seconds on the wall, and of this process's CPU, while it runs: other work on the machine lengthens the former."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self._since: tuple[float, float] | None = None

    def run(self, on: bool) -> None:
        now = time.perf_counter(), time.process_time()
        if self._since is not None:
            self.seconds += now[0] - self._since[0]
            self.cpu_seconds += now[1] - self._since[1]
        self._since = now if on else None

    def __enter__(self) -> None:
        self.run(True)

    def __exit__(self, *_: object) -> None:
        self.run(False)


class Table:
    """points.csv and runs.csv of a folder; points of runs that were cut off are dropped when it is opened."""

    def __init__(self, folder: Path, domains: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._points, self._runs = folder / "points.csv", folder / "runs.csv"
        self._names = [*RUN, "tokens", "seconds", "cpu_seconds", "bits_per_byte", *domains, "source_bits_per_byte"]
        self._done = {(row["arm"], int(row["seed"])) for row in read_csv(self._runs)}
        kept = [row for row in read_csv(self._points) if self.is_done(row["arm"], int(row["seed"]))]
        draft = self._points.with_suffix(".new")
        with draft.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self._names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)
        draft.replace(self._points)

    def is_done(self, arm: str, seed: int) -> bool:
        return (arm, seed) in self._done

    def add(self, arm: str, seed: int, tokens: int, learning: Stopwatch, figures: Mapping[str, float]) -> None:
        """A point, told as it is written."""
        spent = {"seconds": f"{learning.seconds:.1f}", "cpu_seconds": f"{learning.cpu_seconds:.1f}"}
        row = {"arm": arm, "seed": seed, "tokens": tokens} | spent | {k: f"{v:.4f}" for k, v in figures.items()}
        _append(self._points, self._names, row)
        print(*row.values(), flush=True)

    def done(self, arm: str, seed: int, facts: Mapping[str, Any]) -> None:
        """A run is over."""
        row = {"arm": arm, "seed": seed} | dict(facts)
        _append(self._runs, list(row), row)
        self._done.add((arm, seed))


def read_csv(file: Path) -> list[dict[str, str]]:
    """The rows of a file; none where there is no file."""
    if not file.exists():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _append(file: Path, names: Sequence[str], row: Mapping[str, Any]) -> None:
    there = file.exists()
    with file.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, names, lineterminator="\n")
        if not there:
            writer.writeheader()
        writer.writerow(row)
