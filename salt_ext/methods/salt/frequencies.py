"""How often the target's tokens occur in a text that the user gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from salt_ext.errors import InputError
from salt_ext.files.text_lines import read_lines
from salt_ext.methods.core.inputs import MethodInputs
from salt_ext.vocab import encode_lines

# Counts of frequent tokens have settled long before.
_MAX_BYTES = 50_000_000
_LINES = 4096


def token_counts(material: MethodInputs, text: Path) -> npt.NDArray[np.int64]:
    """int64 [target.size], the tokens of a text as the new tokenizer reads it, at most its first 50 MB.

    Args:
        material: of the method.
        text: UTF-8, a document a line.

    Raises:
        InputError: the text cannot be read, or the target's tokenizer is missing.
    """
    if material.target_tokenizer is None:
        raise InputError("text_sample is counted by the target's tokenizer: pass target_tokenizer")
    lines = read_lines(text, max_bytes=_MAX_BYTES)
    counts = np.zeros(material.target.size, dtype=np.int64)
    for begin in range(0, len(lines), _LINES):
        ids = encode_lines(material.target_tokenizer, lines[begin : begin + _LINES])
        counts += np.bincount(ids, minlength=len(counts))[: len(counts)]
    return counts
