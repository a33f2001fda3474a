"""Which n-gram rows a word has in a fastText file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_FNV_OFFSET = np.uint32(2166136261)
_FNV_PRIME = np.uint32(16777619)


def ngram_buckets(
    words: Sequence[bytes], minn: int, maxn: int, bucket: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Hash the character n-grams of "<word>" as fastText does (Bojanowski et al. 2017, section 3.2).

    A character is a byte and the UTF-8 continuation bytes behind it. The hash is 32-bit FNV-1a, but each byte is
    sign-extended first: in the C++ that trained the files `char` is signed. "<" and ">" alone do not count.

    Args:
        words: UTF-8 words, without the "<" and ">".
        minn: shortest n-gram, in characters.
        maxn: longest n-gram, in characters.
        bucket: number of hash buckets, > 0.

    Returns:
        buckets int64 [m] in [0, bucket), and owners int64 [m], the index of the word that each belongs to.
    """
    data = np.frombuffer(b"".join(b"<" + word + b">" for word in words), dtype=np.uint8)
    lengths = np.array([len(word) + 2 for word in words], dtype=np.int64)
    ends = np.cumsum(lengths)
    signed = data.astype(np.int8).astype(np.int32).view(np.uint32)
    # One more False, so that a cursor at the very end may be asked.
    continuation = np.append((data & 0xC0) == 0x80, False)

    # One candidate n-gram per character, all grown by a character at a time.
    cursor = np.flatnonzero(~continuation[:-1])
    owner = np.repeat(np.arange(len(words)), lengths)[cursor]
    stop = ends[owner]
    first = cursor == stop - lengths[owner]
    state = np.full(cursor.shape, _FNV_OFFSET, dtype=np.uint32)
    buckets, owners = [], []
    for n in range(1, maxn + 1):
        alive = cursor < stop
        cursor, owner, stop, first, state = cursor[alive], owner[alive], stop[alive], first[alive], state[alive]
        if not cursor.size:
            break
        state = (state ^ signed[cursor]) * _FNV_PRIME
        cursor = cursor + 1
        while (inside := continuation[cursor] & (cursor < stop)).any():
            state[inside] = (state[inside] ^ signed[cursor[inside]]) * _FNV_PRIME
            cursor[inside] += 1
        if n >= minn:
            counts = ~first & (cursor < stop) if n == 1 else np.ones(cursor.shape, dtype=np.bool_)
            buckets.append((state[counts] % np.uint32(bucket)).astype(np.int64))
            owners.append(owner[counts])
    if not buckets:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    return np.concatenate(buckets), np.concatenate(owners)
