"""Counts of words handed on to their tokens, against the rule written as loops and against sums done by hand."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from salt_ext.alignment import WordCounts, token_counts


def found(pairs, **options):
    """{(target, source): count} of [(source pieces, target pieces, count)]."""
    words = WordCounts(
        [old for old, _, _ in pairs],
        [new for _, new, _ in pairs],
        np.arange(len(pairs)),
        np.arange(len(pairs)),
        np.array([count for _, _, count in pairs], dtype=float),
    )
    counts = token_counts(words, **options)
    keys = list(zip(counts.target_ids.tolist(), counts.source_ids.tolist(), strict=True))
    assert keys == sorted(set(keys))
    return dict(zip(keys, counts.counts.tolist(), strict=True))


def by_loops(pairs, least=10):
    counts = Counter()
    for old, new, exact in pairs:
        count = int(exact)
        if count < least or not old or not new:
            continue
        if len(old) == len(new) == 1:
            counts[new[0], old[0]] += count
            continue
        half = max(1, count // 2)
        for t in new:
            for s in old:
                counts[t, s] += max(1, half // len(old))
        common = math.lcm(len(old), len(new))
        meets = common // len(new)
        for place in range(common):
            counts[new[place * len(new) // common], old[place * len(old) // common]] += max(1, half // meets)
    return dict(counts)


@pytest.mark.parametrize(
    ("old", "new", "count", "wanted"),
    [
        ((1,), (7,), 12.9, {(7, 1): 12}),
        # half is 10: all to all 10 // 2 = 5 each, in order 10 to each token with its own
        ((1, 2), (7, 8), 21.0, {(7, 1): 15, (7, 2): 5, (8, 1): 5, (8, 2): 15}),
        # half is 12: all to all 12 // 1, in order one source token meets both
        ((1,), (7, 8), 25.0, {(7, 1): 24, (8, 1): 24}),
        # half is 15: all to all 15 // 3 = 5; in order 1 1 2 2 3 3 over 7 7 7 8 8 8, 15 // 3 = 5 each
        ((1, 2, 3), (7, 8), 30.0, {(7, 1): 15, (7, 2): 10, (7, 3): 5, (8, 1): 5, (8, 2): 10, (8, 3): 15}),
        # half is 10: all to all 10 // 4 = 2; in order 7 meets 1 and 2, 10 // 2 = 5
        ((1, 2, 3, 4), (7, 8), 20.0, {(7, 1): 7, (7, 2): 7, (7, 3): 2, (7, 4): 2,
                                      (8, 1): 2, (8, 2): 2, (8, 3): 7, (8, 4): 7}),
        # the same token twice: both places count
        ((1, 1), (7,), 10.0, {(7, 1): 8}),
        ((1,), (7,), 9.999, {}),
        ((), (7,), 50.0, {}),
        ((1,), (), 50.0, {}),
    ],
)  # fmt: skip
def test_by_hand(old, new, count, wanted):
    assert found([(old, new, count)]) == wanted


def test_never_less_than_one():
    """Six source tokens share the half of 2, which rounds to 0."""
    assert set(found([(tuple(range(6)), (9,), 2.0)], min_count=1).values()) == {2}


def test_least_count():
    assert found([((1,), (7,), 3.0)]) == {}
    assert found([((1,), (7,), 3.0)], min_count=3) == {(7, 1): 3}
    assert found([((1,), (7,), 0.4)], min_count=1) == {}


def test_random_words_against_loops():
    rng = np.random.default_rng(1)
    pairs = [
        (
            tuple(rng.integers(0, 12, rng.integers(0, 7)).tolist()),
            tuple(rng.integers(0, 12, rng.integers(0, 7)).tolist()),
            float(rng.uniform(0, 90)),
        )
        for _ in range(400)
    ]
    assert found(pairs) == by_loops(pairs)
    assert found(pairs, min_count=1) == by_loops(pairs, 1)
