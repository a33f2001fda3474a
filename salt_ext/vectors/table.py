"""A table of vectors (.npy, .safetensors) with the list of its tokens beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open

from salt_ext.errors import InputError
from salt_ext.files.paths import require_file
from salt_ext.vectors.keys import MAX_DIM, lookup_texts

_NAMES = ("vectors", "embeddings")
_Rows = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float32]]


class TableFile:
    """Vectors of a floating-point table [rows, dim], memory-mapped.

    FILE.npy is one array; FILE.safetensors holds one 2-D tensor, or several of which one is called "vectors" or
    "embeddings". The tokens are the lines of FILE.txt (the same name with another ending), else of tokens.txt in the
    same folder: UTF-8, one token a line, line i names row i, spelled exactly as texts are asked for.

    Args:
        path: the .npy or .safetensors file.

    Raises:
        InputError: a file is missing or corrupt, the table is not a 2-D floating-point one, or its rows and the
            tokens differ in number.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"vectors:{path}"
        require_file(path, "vector table")
        opener = _open_npy if path.suffix.lower() == ".npy" else _open_safetensors
        rows, self.dim, self._take = opener(path)
        if not 0 < self.dim <= MAX_DIM:
            raise InputError(f"vector table {path}: has vectors of {self.dim} dimensions, expected 1 to {MAX_DIM}")
        self._places = _read_tokens(path, rows)

    def lookup(self, texts: Sequence[str | None]) -> npt.NDArray[np.float32]:
        """Vectors of `texts`: float32 [n, dim]; a zero row where a text is None, empty or has no vector.

        Raises:
            InputError: a vector that was asked for is not finite.
        """
        return lookup_texts(texts, self.dim, self._fetch, self.name)

    def _fetch(self, words: list[bytes]) -> npt.NDArray[np.float32]:
        places = np.array([self._places.get(word, -1) for word in words], dtype=np.int64)
        out = np.zeros((len(words), self.dim), dtype=np.float32)
        known = places >= 0
        out[known] = self._take(places[known])
        return out


def _open_npy(path: Path) -> tuple[int, int, _Rows]:
    try:
        # Reads the .npy format alone: no archive, and object arrays (pickle) are refused.
        table = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy parses the header with several kinds of error
        raise InputError(f"vector table {path}: is not a readable .npy file ({_one_line(error)})") from error
    if table.ndim != 2 or table.dtype.kind != "f":
        raise InputError(
            f"vector table {path}: holds {table.dtype} of shape {table.shape}, expected floating point [rows, dim]"
        )

    def take(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        with np.errstate(over="ignore"):  # becomes infinity, which the lookup reports with the word
            return np.asarray(table[rows]).astype(np.float32)

    return table.shape[0], table.shape[1], take


def _open_safetensors(path: Path) -> tuple[int, int, _Rows]:
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            name = _choose(path, shapes)
            table = file.get_tensor(name)
    except InputError:
        raise
    except Exception as error:  # the library's own type is not the only one that it raises
        raise InputError(f"vector table {path}: is not a readable .safetensors file ({_one_line(error)})") from error
    if not table.is_floating_point():
        raise InputError(f"vector table {path}: tensor {name!r} holds {table.dtype}, expected floating point")

    def take(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        array: npt.NDArray[np.float32] = table[torch.from_numpy(rows)].to(torch.float32).numpy()
        return array

    return table.shape[0], table.shape[1], take


def _choose(path: Path, shapes: dict[str, list[int]]) -> str:
    """The name of the one table among a file's tensors."""
    tables = [name for name, shape in shapes.items() if len(shape) == 2]
    named = [name for name in _NAMES if name in tables]
    if named or len(tables) == 1:
        return (named or tables)[0]
    raise InputError(
        f"vector table {path}: holds {len(tables)} 2-D tensors, expected one, or one called {' or '.join(_NAMES)}"
    )


def _read_tokens(path: Path, rows: int) -> dict[bytes, int]:
    """Row by token; of equal tokens the first wins."""
    beside, shared = path.with_suffix(".txt"), path.with_name("tokens.txt")
    found = next((each for each in (beside, shared) if each.is_file()), None)
    if found is None:
        raise InputError(f"vector table {path}: no token list, expected {beside} or {shared}, one token a line")
    require_file(found, "token list")
    lines = found.read_bytes().split(b"\n")
    if not lines[-1]:
        lines.pop()
    if len(lines) != rows:
        raise InputError(f"token list {found}: has {len(lines):,} lines, expected {rows:,}, one per row of {path}")
    places: dict[bytes, int] = {}
    for row, line in enumerate(lines):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"token list {found}: line {row + 1:,} is {line[:40]!r}, expected UTF-8") from error
        places.setdefault(line.removesuffix(b"\r"), row)
    return places


def _one_line(error: Exception) -> str:
    return " ".join(f"{error!s:.300}".split()) or type(error).__name__
