"""From texts to the distinct UTF-8 keys that a file is asked for, and back to one row per text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from salt_ext.errors import InputError

# Far above any real word or vector; keeps a corrupt file from claiming more memory than it is worth.
MAX_WORD_BYTES = 1 << 20
MAX_DIM = 1 << 16


def lookup_texts(
    texts: Sequence[str | None],
    dim: int,
    fetch: Callable[[list[bytes]], npt.NDArray[np.float32]],
    name: str,
) -> npt.NDArray[np.float32]:
    """Fetch the vector of every distinct text once and spread them over `texts`.

    Many tokens share a text (with and without a word marker), so the file is asked once for each.

    Args:
        texts: what to look up; None and empty texts get a zero row.
        dim: columns.
        fetch: distinct non-empty keys -> float32 [keys, dim], a zero row for a key without a vector.
        name: of the file, for the message.

    Returns:
        float32 [len(texts), dim].

    Raises:
        InputError: a fetched vector is not finite.
    """
    keys: dict[bytes, int] = {}
    places = np.full(len(texts), -1, dtype=np.int64)
    for row, text in enumerate(texts):
        if text:
            try:
                key = text.encode("utf-8")
            except UnicodeEncodeError:  # a lone surrogate: no UTF-8 file can hold it
                continue
            places[row] = keys.setdefault(key, len(keys))
    out = np.zeros((len(texts), dim), dtype=np.float32)
    if keys:
        found = fetch(list(keys))
        broken = np.flatnonzero(~np.isfinite(found).all(axis=1))
        if broken.size:
            word = list(keys)[int(broken[0])].decode("utf-8")
            raise InputError(f"{name}: the vector of {word!r} holds NaN or infinity, expected finite float32 numbers")
        wanted = places >= 0
        out[wanted] = found[places[wanted]]
    return out
