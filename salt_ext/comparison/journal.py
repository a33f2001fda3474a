"""The results of a comparison as they come, in a file from which one that was cut off goes on.

results.jsonl: a line of JSON that says what is compared, then one for each result. It is written behind every result,
and removed when the tables are written, which hold all of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from salt_ext.comparison.identity import files_of_method
from salt_ext.comparison.method_spec import MethodSpec
from salt_ext.errors import OutputError
from salt_ext.files.json_text import read_json

JOURNAL_FILE = "results.jsonl"
_MARK = "salt-ext compare"


@dataclass(frozen=True)
class Result:
    """What was found of one method with one seed.

    Attributes:
        method: as the user wrote it.
        seed: of the run.
        figures: by the key of a metric; one that means nothing for the method, or was not measured, is absent.
        warnings: sentences for the user.
        files: those that the method's options name, see `files_of_method`.
    """

    method: str
    seed: int
    figures: Mapping[str, float]
    warnings: tuple[str, ...] = ()
    files: Sequence[Any] = field(default_factory=list)


@dataclass
class Journal:
    """Results by method and seed; without a file they are kept in memory only.

    Attributes:
        file: None for none.
        results: by (method, seed), those of an earlier run included.
    """

    file: Path | None = None
    results: dict[tuple[str, int], Result] = field(default_factory=dict)
    _header: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path | None, inputs: Mapping[str, Any]) -> Journal:
        """Reads what an earlier run with the same inputs left, and begins the file where there is none.

        Args:
            folder: of the results, which exists; None to keep nothing.
            inputs: all that results depend on but method and seed, JSON values.

        Raises:
            OutputError: a file of this name is no comparison's, or of other inputs, or it cannot be written.
        """
        if folder is None:
            return cls()
        journal = cls(folder / JOURNAL_FILE)
        lines = _read(folder / JOURNAL_FILE)
        if len(lines) > 1:
            journal._check(lines[0], inputs)
            for line in lines[1:]:
                found = {name: line[name] for name in ("method", "seed", "figures", "files")}
                result = Result(**found, warnings=tuple(line["warnings"]))
                journal.results[result.method, result.seed] = result
        journal._header = {_MARK: _digest(inputs), "inputs": dict(inputs)}
        if journal.results:
            # Anew: the last line of a run that was cut off may be half a line.
            journal._write([journal._header, *map(_line, journal.results.values())], "w")
        return journal

    def holds(self, chosen: MethodSpec, seed: int) -> bool:
        """Whether a result is there, and of the same files."""
        found = self.results.get((chosen.label, seed))
        return found is not None and found.files == files_of_method(chosen.method)

    def add(self, result: Result) -> None:
        """Keeps a result, on the disk before this returns.

        Raises:
            OutputError: the file cannot be written.
        """
        begun = bool(self.results)
        self.results[result.method, result.seed] = result
        if begun:
            self._write([_line(result)], "a")
        else:
            self._write([self._header, _line(result)], "w")

    def close(self) -> None:
        """Removes the file: all of it stands elsewhere."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)

    def _check(self, first: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        if first[_MARK] != _digest(inputs):
            old, new = first.get("inputs", {}), json.loads(json.dumps(inputs))
            other = ", ".join(sorted(key for key in new if old.get(key) != new[key]))
            raise OutputError(
                f"{self.file} holds an unfinished comparison of other inputs ({other or 'of another kind'}); choose "
                "another folder, or remove the file"
            )

    def _write(self, lines: Iterable[Mapping[str, Any]], mode: str) -> None:
        if self.file is None:
            return
        try:
            with self.file.open(mode, encoding="utf-8") as out:
                out.writelines(json.dumps(line) + "\n" for line in lines)
                out.flush()
                os.fsync(out.fileno())
        except OSError as error:
            raise OutputError(f"the results cannot be written to {self.file}: {error.strerror}") from error


def _line(result: Result) -> dict[str, Any]:
    return {
        "method": result.method,
        "seed": result.seed,
        "figures": dict(result.figures),
        "warnings": list(result.warnings),
        "files": list(result.files),
    }


def _digest(inputs: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def _read(file: Path) -> list[dict[str, Any]]:
    """The lines of a journal; none where there is no file, or one that was never begun."""
    if not os.path.lexists(file):
        return []
    foreign = OutputError(f"{file} exists and is no comparison's; choose another folder")
    if not file.is_file():
        raise foreign
    lines = []
    for line in file.read_bytes().splitlines(keepends=True):
        # Half a line: the run was cut off while it was written.
        if not line.endswith(b"\n"):
            break
        try:
            lines.append(read_json(line))
        except ValueError:
            raise foreign from None
    first, *rest = lines or [{_MARK: ""}]
    known = isinstance(first, dict) and isinstance(first.get(_MARK), str)
    if not known or not all(map(_is_result, rest)):
        raise foreign
    if not lines and file.stat().st_size and not file.read_bytes().startswith(b'{"' + _MARK.encode()):
        raise foreign
    return lines


def _is_result(line: Any) -> bool:
    if not isinstance(line, dict) or line.keys() != {"method", "seed", "figures", "warnings", "files"}:
        return False
    figures = line["figures"].values() if isinstance(line["figures"], dict) else [None]
    numbers = all(isinstance(figure, (int, float)) for figure in figures)
    return numbers and isinstance(line["method"], str) and isinstance(line["seed"], int)
