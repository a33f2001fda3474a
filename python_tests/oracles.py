"""Definitions written out in NumPy for tests of several folders; nothing of salt_ext takes part."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def sparsemax(scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The projection of each row onto the simplex, by bisection of its threshold: sum(max(z - t, 0)) = 1."""
    high = scores.max(-1, keepdims=True).astype(np.float64)
    low = high - 1
    for _ in range(100):
        middle = (low + high) / 2
        over = np.maximum(scores - middle, 0).sum(-1, keepdims=True) > 1
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    return np.maximum(scores - high, 0)
