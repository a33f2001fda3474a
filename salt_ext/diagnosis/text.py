"""The texts of a diagnosis: what is measured on, and what tokens are counted in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from salt_ext.errors import InputError
from salt_ext.files.text_lines import read_lines
from salt_ext.vocab import encode_lines

# Counting costs little beside measuring, and needs more text.
_COUNTED_BYTES = 1 << 20
_PASSAGE = 1000


@dataclass(frozen=True)
class Text:
    """Lines, none of them empty.

    Attributes:
        files: their names.
        measured: from the front of each file, what models are measured on.
        counted: more of each file, what tokens are counted in.
    """

    files: tuple[str, ...]
    measured: tuple[str, ...]
    counted: tuple[str, ...]

    def counts(self, tokenizer: PreTrainedTokenizerBase, size: int) -> npt.NDArray[np.int64]:
        """How often the text has each id of a tokenizer, int64 [size]."""
        return np.bincount(encode_lines(tokenizer, self.counted), minlength=size)[:size]

    def passages(self) -> list[str]:
        """What is measured on, lines joined to pieces of some thousand characters, so that models have a context."""
        pieces, held = [], ""
        for line in self.measured:
            held = f"{held}\n{line}" if held else line
            if len(held) >= _PASSAGE:
                pieces.append(held)
                held = ""
        return [*pieces, held] if held else pieces


def read_text(files: Sequence[str | Path], name: str, *, max_bytes: int) -> Text | None:
    """Reads the files; None where none is named.

    Args:
        files: UTF-8, a document a line.
        name: of the argument, for the message.
        max_bytes: of each file, what is measured on.

    Raises:
        InputError: a single file instead of a list, or one that cannot be read, is not UTF-8 or holds no text.
    """
    if isinstance(files, str | Path):
        raise InputError(f"{name} is {str(files)!r}, expected a list of files")
    if not files:
        return None
    measured: list[str] = []
    counted: list[str] = []
    for file in files:
        for lines, limit in ((measured, max_bytes), (counted, max(max_bytes, _COUNTED_BYTES))):
            lines += [line for line in read_lines(Path(file), max_bytes=limit) if line.strip()]
    return Text(tuple(Path(file).name for file in files), tuple(measured), tuple(counted))
