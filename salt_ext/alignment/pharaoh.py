"""Alignments that another program made, in Pharaoh's format: one line per pair of lines, such as `0-0 1-2`.

The numbers count the units of a line from 0, the source's before the hyphen. `write_units` writes these units for the
program that shall align them, one `source ||| target` per line, parted by spaces, as fast_align and eflomal read them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from salt_ext.alignment.corpus import read_lines
from salt_ext.alignment.counts import WordCounts
from salt_ext.alignment.units import UnitText
from salt_ext.errors import InputError
from salt_ext.files.output_file import write_anew

_LINE = re.compile(r"(?:\d{1,9}-\d{1,9}(?:\s+|$))*")
_SEPARATOR = "|||"


def write_units(path: str | Path, source: UnitText, target: UnitText) -> None:
    """Writes the units of both sides for a program that aligns them.

    Raises:
        OutputError: they cannot be written.
    """
    # A unit that is itself the separator would end the source's side.
    names = [[name.replace(_SEPARATOR, "||") for name in side.names] for side in (source, target)]
    lines = (
        f" {_SEPARATOR} ".join(
            " ".join(names[side][number] for number in units.tolist()) for side, units in enumerate(pair)
        )
        for pair in zip(source.corpus.lines(), target.corpus.lines(), strict=True)
    )
    write_anew(Path(path), (f"{line}\n".encode() for line in lines), what="the units")


def read_pharaoh(path: str | Path, source: UnitText, target: UnitText) -> WordCounts:
    """Counts how often units are aligned with each other.

    Args:
        path: the alignments.
        source: the source's units, as `write_units` wrote them.
        target: the target's.

    Raises:
        InputError: the file cannot be read, has another number of lines, a line that is no alignment, a unit that its
            line does not have, or no alignment at all.
    """
    lines = read_lines(path, "alignment file")
    if len(lines) != len(source.corpus):
        raise InputError(
            f"alignment file {path} has {len(lines):,} lines, expected {len(source.corpus):,}: one for each pair of "
            "lines of the texts"
        )
    pairs = []
    for number, (line, old, new) in enumerate(zip(lines, source.corpus.lines(), target.corpus.lines(), strict=True), 1):
        if _LINE.fullmatch(line.strip()) is None:
            raise InputError(f"alignment file {path}: line {number:,} is {line[:40]!r}, expected such as '0-0 1-2'")
        for link in line.split():
            first, second = (int(place) for place in link.split("-"))
            for what, place, side in (("source", first, old), ("target", second, new)):
                if place >= len(side):
                    raise InputError(
                        f"alignment file {path}: line {number:,} has {link}, but its {what} line has {len(side)} "
                        "units; expected alignments of the units that --write-units writes"
                    )
            pairs.append((int(old[first]), int(new[second])))
    if not pairs:
        raise InputError(f"alignment file {path} is empty: none of its {len(lines):,} lines aligns anything")
    found, counts = np.unique(np.array(pairs, dtype=np.int64), axis=0, return_counts=True)
    return WordCounts(source.pieces, target.pieces, found[:, 0], found[:, 1], counts.astype(np.float64))
