"""Which windows each phase reads."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("datasets", reason="windows are a data set")

import datasets

from salt_ext.adaptation.windows import phase_windows
from salt_ext.errors import InputError


def corpus_of(numbers):
    return SimpleNamespace(windows=datasets.Dataset.from_dict({"input_ids": [[number] for number in numbers]}))


def dealt(steps, have, *, replay=0.0, others=0, seed=0):
    run = SimpleNamespace(
        options=SimpleNamespace(replay=replay, all_phases=[None] * len(steps)),
        args=SimpleNamespace(seed=seed),
        steps=lambda number: steps[number - 1],
        windows_per_step=4,
        context=1,
        tokens_per_step=4,
    )
    source = corpus_of(range(1000, 1000 + others)) if others else None
    found = phase_windows(run, corpus_of(range(have)), source)
    return [[row[0] for row in each["input_ids"]] for each in found]


def test_no_window_comes_twice_while_there_are_new_ones():
    first, second = dealt([3, 5], 40)
    assert (len(first), len(second)) == (12, 20)
    assert len({*first, *second}) == 32
    assert [first, second] == dealt([3, 5], 40)
    assert [first, second] != dealt([3, 5], 40, seed=1)
    assert first != sorted(first)


def test_a_short_text_is_read_more_than_once_in_whole_steps():
    first, second = dealt([2, 9], 14)
    assert (len(first), len(set(second))) == (8, 12)


def test_a_share_is_of_the_sources_language():
    first, second = dealt([5, 5], 60, replay=0.25, others=30)
    for phase in (first, second):
        assert (len(phase), sum(number >= 1000 for number in phase)) == (20, 5)
    assert len({*first, *second}) == 40


def test_less_than_one_step_is_refused():
    with pytest.raises(
        InputError, match=r"^text fills 3 windows of 1 tokens \(context\), fewer than the 4 of one step"
    ):
        dealt([1], 3)
    with pytest.raises(InputError, match=r"^source_text fills 2 windows"):
        dealt([4], 40, replay=0.5, others=2)
