"""How much each piece counts of the token that it is a part of: by its position, or by its length."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from salt_ext.vocab import Vocabulary

Ints = npt.NDArray[np.int64]
# "decayed": each piece `decay` times as much as the one before it; "rising": as the one behind it.
Kind = Literal["mean", "first", "last", "decayed", "rising", "length"]
# The factor of AdaptiVocab and of transplant-vocab.
DECAY = 0.5


def piece_weights(kind: Kind, lengths: Ints, characters: Ints, *, decay: float = DECAY) -> npt.NDArray[np.float64]:
    """The weights of the pieces of many tokens, one token's after the other's; each token's add up to 1.

    Args:
        kind: what they go by.
        lengths: int64 [n], how many pieces each token has; 0 is no error.
        characters: int64 [sum of lengths], at least 1, how long each piece is; only "length" looks at it.
        decay: of "decayed" and "rising", 0 to 1: with 0 the first or last piece is all, with 1 all count alike.

    Returns:
        float64 [sum of lengths].
    """
    owners = np.repeat(np.arange(len(lengths)), lengths)
    ahead = np.arange(len(owners)) - np.repeat(lengths.cumsum() - lengths, lengths)
    behind = lengths[owners] - 1 - ahead
    if kind == "mean":
        raw = np.ones(len(owners))
    elif kind == "length":
        raw = characters.astype(np.float64)
    elif kind in ("first", "last"):
        raw = ((ahead if kind == "first" else behind) == 0).astype(np.float64)
    else:
        raw = np.power(float(decay), ahead if kind == "decayed" else behind)
    weights: npt.NDArray[np.float64] = raw / np.bincount(owners, raw, minlength=len(lengths))[owners]
    return weights


def characters_of(vocabulary: Vocabulary) -> Ints:
    """The length of every token in characters, the space that begins its word among them: int64 [vocabulary.size].

    A token that is part of a character, or none at all, counts as one.
    """
    starts = [0 if form is None else sum(byte & 0xC0 != 0x80 for byte in form.written) for form in vocabulary.forms]
    return np.maximum(np.array(starts, dtype=np.int64), 1)
