"""auto's trial on made-up figures: what is trained, for how long, and what is taken then."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace

from salt_ext.choosing import Decision, Tried, deciding
from salt_ext.choosing.trial import Trial
from salt_ext.evaluation.measuring import StoppedError
from salt_ext.runtime.progress import Clock

RULED = "salt-plus"


class FakeBody:
    """Starts and ends by the name of the method; every call takes so many seconds."""

    def __init__(self, starts, ends, seconds=0.0):
        self.starts, self.ends, self.seconds = starts, ends, seconds
        self.trained: list[tuple[str, int]] = []

    def _take(self, stop):
        if stop():
            raise StoppedError
        time.sleep(self.seconds)

    def measure(self, plan, stream, *, stop):
        self._take(stop)
        return SimpleNamespace(bits_per_byte=self.starts[plan])

    def adapt_and_measure(self, plan, train, held, *, steps, stop, **_options):
        self._take(stop)
        self.trained.append((plan, steps))
        if isinstance(self.ends[plan], Exception):
            raise self.ends[plan]
        return SimpleNamespace(bits_per_byte=self.ends[plan])


def tried_by(body: FakeBody, seconds: float = 1e6, tokens: int = 5000):
    streams = SimpleNamespace(held_out=SimpleNamespace(ids=range(tokens)), training=object())
    trial = Trial(body, SimpleNamespace(seed=0), streams, 1, time.perf_counter() + seconds, Clock(), False)
    chosen = [SimpleNamespace(label=name, plan=lambda material, rows, name=name: (name, ())) for name in body.starts]
    return trial.run(chosen)


def test_gross_failures_are_not_trained_and_the_best_end_wins():
    starts = {"a": 2.0, "mean": 3.0, "b": 2.1, "bad": 3.1, "far": 2.4}
    body = FakeBody(starts, {"a": 1.9, "b": 1.8})
    tried = {each.method: each for each in tried_by(body)}
    assert next(iter(tried)) == "b"
    assert body.trained == [("a", 50), ("b", 50)]
    assert tried["bad"].note == "no better than the mean row"
    assert tried["far"].note == "far behind before training"
    assert [name for name, each in tried.items() if each.trained is None] == ["far", "mean", "bad"]


def test_when_the_time_is_over_what_is_known_is_kept():
    body = FakeBody({"a": 2.0, "mean": 3.0, "b": 1.9}, {}, seconds=0.2)
    tried = {each.method: each for each in tried_by(body, seconds=0.3)}
    assert (tried["a"].bits_per_byte, tried["mean"].bits_per_byte) == (2.0, 3.0)
    assert tried["b"].bits_per_byte is None
    assert tried["b"].note == "not tried: the time was over"
    assert body.trained == []


def test_steps_and_methods_are_as_many_as_the_time_allows(monkeypatch):
    """A token is taken to need 10 us, so that a step of 2,048 tokens, 3.5 passes, takes 0.0717 s."""
    starts, ends = {"a": 2.0, "mean": 3.0, "b": 2.01, "c": 2.02}, {"a": 1.9, "b": 1.8, "c": 1.7}
    now = [0.0]
    monkeypatch.setattr("salt_ext.choosing.trial.time.perf_counter", lambda: now[0])
    for seconds, trained in (
        (12.0, [("a", 50), ("b", 50), ("c", 50)]),
        (7.0, [("a", 25), ("b", 25), ("c", 25)]),
        (2.5, [("a", 12), ("b", 12)]),
        (1.0, []),
    ):
        body = FakeBody(starts, ends)
        monkeypatch.setattr(body, "_take", lambda stop: now.__setitem__(0, now[0] + 0.1))
        now[0] = 0.0
        tried_by(body, seconds=seconds, tokens=10_000)
        assert body.trained == trained


def test_figures_that_are_not_finite_decide_nothing():
    body = FakeBody({"nan": math.nan, "mean": 3.0, "a": 2.0, "b": 2.1, "c": 2.2}, {"a": math.nan, "b": 1.9, "c": 1.8})
    tried = {each.method: each for each in tried_by(body)}
    assert next(iter(tried)) == "c"
    assert tried["nan"].bits_per_byte is tried["a"].trained is None
    assert tried["nan"].note == tried["a"].note == "its bits per byte are not finite"


def test_a_training_that_fails_leaves_what_was_measured():
    body = FakeBody({"a": 2.0, "mean": 3.0, "b": 2.1, "c": 2.2}, {"a": MemoryError("none"), "b": 1.9, "c": 1.8})
    tried = {each.method: each for each in tried_by(body)}
    assert next(iter(tried)) == "c"
    assert tried["a"].note == "not trained: MemoryError: none"
    assert tried["a"].bits_per_byte == 2.0


def test_one_training_alone_decides_nothing():
    body = FakeBody({"a": 2.0, "mean": 3.0, "b": 1.9}, {"a": RuntimeError("no"), "b": 5.0})
    tried = tried_by(body)
    assert [each.trained for each in tried] == [None, None, None]
    assert tried[0].method == "b"


def decided(*tried: Tried) -> Decision:
    return deciding._best(Decision(RULED, "by rule: so it is", tuple(tried)))


def test_without_a_training_the_rule_stays_unless_another_is_clearly_better():
    assert decided(Tried("focus", 2.0), Tried(RULED, 2.015), Tried("mean", 3.0)).method == RULED
    assert decided(Tried("focus", 2.0), Tried(RULED, 2.025), Tried("mean", 3.0)).method == "focus"
    assert decided(Tried("focus", 2.0, 1.9), Tried(RULED, 2.015, 1.905)).method == "focus"
    assert "1.900, the next 1.905" in decided(Tried("focus", 2.0, 1.9), Tried(RULED, 2.015, 1.905)).why


def test_where_nothing_is_better_than_the_mean_row_it_is_taken_with_a_warning():
    found = decided(Tried("mean", 3.0, note="to compare with"), Tried(RULED, 3.1, note="no better than the mean row"))
    assert found.method == "mean"
    assert "no method starts better than the mean row" in found.warnings[0]
