"""The alignment table on disk: which token translates which how often, in a text file that people can read.

The first line names both tokenizers by their numbers of tokens and a hash of their vocabularies, the second the
columns; every further line is a pair of tokens. Spellings are JSON strings, for the reader; the ids count.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np

from salt_ext.alignment.corpus import read_lines
from salt_ext.alignment.counts import TokenCounts, merged
from salt_ext.errors import InputError
from salt_ext.files.output_file import write_anew
from salt_ext.vocab import Vocabulary

_COLUMNS = "target_id\ttarget\tsource_id\tsource\tcount"
_HEADER = re.compile(r"# salt-ext alignment 1\tsource (\d{1,9}):([0-9a-f]{64})\ttarget (\d{1,9}):([0-9a-f]{64})")
# Sums of counts stay exact in float64.
_LARGEST = 1 << 40


@dataclass(frozen=True)
class Fingerprint:
    """A tokenizer by its vocabulary.

    Attributes:
        size: number of ids.
        digest: SHA-256 of all spellings in the order of their ids, as hexadecimal digits.
    """

    size: int
    digest: str

    @classmethod
    def of(cls, vocabulary: Vocabulary, size: int | None = None) -> Fingerprint:
        """Of the first `size` ids of the vocabulary; of all if None."""
        tokens = vocabulary.tokens[:size]
        written = json.dumps(tokens, separators=(",", ":")).encode("ascii")
        return cls(len(tokens), hashlib.sha256(written).hexdigest())


@dataclass(frozen=True)
class AlignmentTable:
    """Counts of tokens that translate each other, and the tokenizers that they are of.

    Attributes:
        name: what to call it in messages.
        counts: the pairs.
        source: the source's tokenizer.
        target: the target's.
    """

    name: str
    counts: TokenCounts
    source: Fingerprint
    target: Fingerprint

    @classmethod
    def of(cls, counts: TokenCounts, source: Vocabulary, target: Vocabulary, *, name: str) -> AlignmentTable:
        """The table of counts whose ids are those of the two vocabularies.

        Raises:
            InputError: there are no counts.
        """
        if not len(counts.counts):
            raise InputError(f"{name} is empty: it aligns no token of {source.name} with one of {target.name}")
        return cls(name, counts, Fingerprint.of(source), Fingerprint.of(target))

    def swapped(self, first: int, second: int, target: Vocabulary) -> AlignmentTable:
        """The same for the target's tokenizer after the tokens of two ids changed places.

        Args:
            first: an id.
            second: another.
            target: the vocabulary after that; where the table is of another tokenizer, it stays as it is.
        """
        if Fingerprint.of(target.swapped(first, second), self.target.size) != self.target:
            return self
        ids = self.counts.target_ids.copy()
        ids[self.counts.target_ids == first], ids[self.counts.target_ids == second] = second, first
        counts = merged(ids, self.counts.source_ids, self.counts.counts)
        return replace(self, counts=counts, target=Fingerprint.of(target, self.target.size))

    def require(self, source: Vocabulary, target: Vocabulary) -> None:
        """Checks that the table is of these tokenizers; tokens may have been added to them since.

        Raises:
            InputError: it is of others.
        """
        swapped = Fingerprint.of(source, self.target.size) == self.target
        for what, made, given in (("source", self.source, source), ("target", self.target, target)):
            found = Fingerprint.of(given, made.size)
            if found != made:
                hint = ", and of the other way round" if swapped else ""
                raise InputError(
                    f"{self.name} is of another {what} tokenizer than {given.name}{hint}: it was made for "
                    f"{made.size:,} tokens with hash {made.digest[:12]}, found {given.size:,} with {found.digest[:12]}"
                )


def write_table(path: str | Path, table: AlignmentTable, source: Vocabulary, target: Vocabulary) -> None:
    """Writes the table, every target token's most frequent source token first; the file appears complete or not at all.

    Args:
        path: the file, replaced if it exists.
        table: what to write.
        source: the source's vocabulary, for the spellings.
        target: the target's.

    Raises:
        OutputError: it cannot be written; an older file is then as it was.
    """
    file, counts = Path(path), table.counts
    order = np.lexsort((counts.source_ids, -counts.counts, counts.target_ids))
    columns = (counts.target_ids[order].tolist(), counts.source_ids[order].tolist(), counts.counts[order].tolist())
    sides = (f"{what} {side.size}:{side.digest}" for what, side in _sides(table))
    header = "\t".join(("# salt-ext alignment 1", *sides)) + f"\n{_COLUMNS}\n"
    rows = (
        f"{new}\t{_spelt(target, new)}\t{old}\t{_spelt(source, old)}\t{count}\n"
        for new, old, count in zip(*columns, strict=True)
    )
    write_anew(file, (line.encode() for line in chain([header], rows)), what="the table")


def read_table(path: str | Path) -> AlignmentTable:
    """Reads what `write_table` wrote; counts of a pair that comes twice are added up.

    Raises:
        InputError: the file cannot be read, is no alignment table, is damaged, or is empty.
    """
    name = f"alignment table {path}"
    lines = read_lines(path, "alignment table")
    header = _HEADER.fullmatch(lines[0])
    if header is None or lines[1:2] != [_COLUMNS]:
        raise InputError(f"{name} begins with {lines[0][:40]!r}, expected a table that salt-ext align made")
    source, target = Fingerprint(int(header[1]), header[2]), Fingerprint(int(header[3]), header[4])
    rows = []
    for number, line in enumerate(lines[2:], 3):
        if not line.strip():
            continue
        cells = line.split("\t")
        try:
            new, _, old, _, count = cells
            row = (int(new), int(old), int(count))
        except ValueError:
            raise InputError(f"{name}: line {number:,} is {line[:60]!r}, expected 5 columns: {_COLUMNS!r}") from None
        if not (0 <= row[0] < target.size and 0 <= row[1] < source.size and 0 < row[2] <= _LARGEST):
            raise InputError(f"{name}: line {number:,} has ids or a count out of range: {line[:60]!r}")
        rows.append(row)
    if not rows:
        raise InputError(f"{name} is empty: it aligns no token; make it from more text or with a smaller --min-count")
    return AlignmentTable(name, merged(*np.array(rows, dtype=np.int64).T), source, target)


def _spelt(vocabulary: Vocabulary, number: int) -> str:
    return json.dumps(vocabulary.tokens[number], ensure_ascii=False)


def _sides(table: AlignmentTable) -> tuple[tuple[str, Fingerprint], tuple[str, Fingerprint]]:
    return ("source", table.source), ("target", table.target)
