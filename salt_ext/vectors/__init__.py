"""Auxiliary static word vectors: what tells a new token which shared tokens it resembles.

The files are large and only some of their rows are wanted, so every source reads the rows asked for and no more.
A text is looked up exactly as it is: no case folding, no guessing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext.errors import InputError
from salt_ext.files.paths import expanded, require_file
from salt_ext.vectors.fasttext import FastTextFile
from salt_ext.vectors.pieces import rows_for
from salt_ext.vectors.table import TableFile
from salt_ext.vectors.textfile import TextFile
from salt_ext.vectors.word2vec import Word2VecFile
from salt_ext.vocab import Vocabulary

__all__ = [
    "DONOR_AUX",
    "FastTextFile",
    "TableFile",
    "TextFile",
    "VectorSource",
    "Word2VecFile",
    "check_spec",
    "file_of",
    "look_up",
    "open_auxiliary",
    "open_vectors",
    "rows_for",
]

# Stands for the donor's own table, where a specification of vectors is expected.
DONOR_AUX = "donor"
_PREFIXES = ("fasttext", "vectors")
_EXPECTED = "expected fasttext:FILE.bin (Facebook's format) or vectors:FILE (.vec, .txt, .bin, .npy, .safetensors)"


class VectorSource(Protocol):
    """A set of static vectors with a text for each."""

    @property
    def name(self) -> str:
        """What the vectors are called in messages and reports."""

    @property
    def dim(self) -> int:
        """The number of columns of every vector."""

    def lookup(self, texts: Sequence[str | None]) -> npt.NDArray[np.float32]:
        """Vectors of `texts`: float32 [n, dim]; a zero row where a text is None, empty or has no vector.

        Raises:
            InputError: a vector that was asked for is not finite, or the file is corrupt.
        """


_TABLES: dict[str, Callable[[Path], VectorSource]] = {
    ".vec": TextFile,
    ".txt": TextFile,
    ".bin": Word2VecFile,
    ".npy": TableFile,
    ".safetensors": TableFile,
}


def open_auxiliary(spec: str) -> VectorSource | None:
    """The auxiliary vectors that a user names: None for "donor", the donor's own table, else see `open_vectors`."""
    return None if spec == DONOR_AUX else open_vectors(spec)


def open_vectors(spec: str) -> VectorSource:
    """Open a file of auxiliary vectors.

    Args:
        spec: `fasttext:FILE.bin`, or `vectors:FILE` with a word2vec or fastText text file (.vec, .txt), a word2vec
            binary file (.bin), or a .npy or .safetensors table with a token list beside it (see `table.TableFile`).

    Raises:
        InputError: an unknown prefix or file type, a missing, truncated or corrupt file.
    """
    reader, path = _reader_of(spec)
    return reader(path)


def check_spec(spec: str) -> None:
    """What can be said of a file of auxiliary vectors without reading it.

    Args:
        spec: see `open_vectors`.

    Raises:
        InputError: an unknown prefix or file type, or no such file.
    """
    _, path = _reader_of(spec)
    require_file(path, "auxiliary vectors")


def file_of(spec: object) -> Path | None:
    """The file that a specification names; None for whatever else."""
    prefix, _, rest = spec.partition(":") if isinstance(spec, str) else ("", "", "")
    return expanded(rest) if prefix in _PREFIXES and rest else None


def _reader_of(spec: str) -> tuple[Callable[[Path], VectorSource], Path]:
    prefix, colon, rest = spec.partition(":")
    if not colon or prefix not in _PREFIXES:
        raise InputError(f"auxiliary vectors: found {spec!r}{'' if colon else _suggestion(spec)}, {_EXPECTED}")
    if not rest:
        raise InputError(f"auxiliary vectors: found {spec!r} without a file name, {_EXPECTED}")
    path = expanded(rest)
    if prefix == "fasttext":
        return FastTextFile, path
    reader = _TABLES.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"auxiliary vectors: {path} has the ending {path.suffix!r}, expected {', '.join(_TABLES)}")
    return reader, path


def look_up(vectors: VectorSource, target: Vocabulary) -> Tensor:
    """The vector of every token of a vocabulary, a zero row for one without a text: float32 [target.size, D]."""
    return torch.from_numpy(vectors.lookup([form.text if form is not None else None for form in target.forms]))


def _suggestion(spec: str) -> str:
    """What a file name without a prefix was probably meant to be."""
    suffix = Path(spec).suffix.lower()
    if suffix in (".bin", ".ftz"):
        return f" without a prefix (fasttext:{spec} for fastText, vectors:{spec} for word2vec?)"
    return f" without a prefix (vectors:{spec}?)" if suffix in _TABLES else ""
