"""Candidates on the source itself, within a limit of time: bits per byte before training, then an equal short training.

The start shows gross failures only: on SmolLM2-135M methods that lie within a few hundredths before training change
places in a short one. So those that do no better than the mean row or start far behind the best are left, and as many
of the others are trained, with as many steps, as the time allows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from salt_ext.choosing.decision import Tried
from salt_ext.choosing.rule import CONTROL
from salt_ext.choosing.sample import Streams
from salt_ext.comparison.body import Body
from salt_ext.comparison.method_spec import MethodSpec
from salt_ext.errors import InputError, brief
from salt_ext.evaluation.measuring import StoppedError
from salt_ext.methods import MethodInputs
from salt_ext.plan import TransferPlan
from salt_ext.runtime.progress import Clock

TOKENS_PER_STEP = 2048
LEARNING_RATE = 3e-4
# The more the better.
_STEPS = (50, 25, 12)
# A start that has more than this many times the bits of the best is not trained. Of what was measured on real models a
# single one that began so far behind (1.28 times) would have gained on others, and none became the best.
_FAR_BEHIND = 1.15
# Forward and backward pass and update, in forward passes.
_PASSES_PER_STEP = 3.5
_OVER = "not tried: the time was over"
_OVER_TRAINING = "not trained: the time was over"
_NOT_FINITE = "its bits per byte are not finite"
_FEWEST_TRAINED = 2


@dataclass
class Trial:
    """One trial.

    Attributes:
        body: of the source.
        material: what methods are given.
        streams: the sample.
        rows: of the plans.
        deadline: `time.perf_counter()` at which all ends.
        clock: notified of every step.
        only_new_rows: whether the training changes nothing else.
        steps: of the training; 0 where there was none.
    """

    body: Body
    material: MethodInputs
    streams: Streams
    rows: int
    deadline: float
    clock: Clock
    only_new_rows: bool
    steps: int = field(default=0, init=False)
    _seconds_per_token: float = field(default=math.inf, init=False)
    _seconds_per_plan: float = field(default=0.0, init=False)

    def run(self, candidates: Sequence[MethodSpec]) -> list[Tried]:
        """Measures the candidates and trains the best of them until the time is over.

        Returns:
            What was found of each, the best first, those without any figure last.

        Raises:
            InputError: the source cannot be opened.
            OutputError: the folder for temporary files cannot take a model.
        """
        tried = _far_behind([self._measure(chosen) for chosen in candidates])
        methods = {chosen.label: chosen for chosen in candidates}
        going = sorted((each for each in tried if each.bits_per_byte is not None and not each.note), key=_quality)
        trained = [self._train(each, methods[each.method]) for each in self._affordable(going)]
        if sum(each.trained is not None for each in trained) < _FEWEST_TRAINED:
            # One that is trained cannot be compared with others that are not.
            trained = [replace(each, trained=None, note=each.note or _OVER_TRAINING) for each in trained]
        done = {each.method: each for each in trained}
        return sorted((done.get(each.method, each) for each in tried), key=_quality)

    @property
    def facts(self) -> dict[str, Any]:
        """For the report: the training, None where there was none."""
        rows = "rows of new tokens" if self.only_new_rows else "all weights"
        how = {"steps": self.steps, "tokens_per_step": TOKENS_PER_STEP, "lr": LEARNING_RATE, "of": rows}
        return {"training": how if self.steps else None}

    def _late(self) -> bool:
        return time.perf_counter() > self.deadline

    def _measure(self, chosen: MethodSpec) -> Tried:
        if self._late():
            return Tried(chosen.label, note=_OVER)
        with self.clock.step(f"measure {chosen.label}"):
            begun = time.perf_counter()
            try:
                plan = self._plan(chosen)
            except InputError as error:
                return Tried(chosen.label, note=str(error))
            planned = time.perf_counter()
            try:
                score = self.body.measure(plan, self.streams.held_out, stop=self._late)
            except StoppedError:
                return Tried(chosen.label, note=_OVER)
            # The first one has the model written and opened besides, so that the quickest tells.
            took = (time.perf_counter() - planned) / len(self.streams.held_out.ids)
            self._seconds_per_token = min(self._seconds_per_token, took)
            self._seconds_per_plan = max(self._seconds_per_plan, planned - begun)
        if not math.isfinite(score.bits_per_byte):
            return Tried(chosen.label, note=_NOT_FINITE)
        return Tried(chosen.label, score.bits_per_byte)

    def _affordable(self, going: Sequence[Tried]) -> Sequence[Tried]:
        """The candidates that there is time to train, at least two or none; `steps` is set to how long."""
        if self.streams.training is None:
            return []
        left, token = self.deadline - time.perf_counter(), self._seconds_per_token
        for count in range(len(going), 1, -1):
            for steps in _STEPS:
                training = steps * TOKENS_PER_STEP * _PASSES_PER_STEP * token
                measuring = len(self.streams.held_out.ids) * token + self._seconds_per_plan
                if count * (training + measuring) < left:
                    self.steps = steps
                    return going[:count]
        return []

    def _train(self, found: Tried, chosen: MethodSpec) -> Tried:
        if self._late():
            return replace(found, note=_OVER_TRAINING)
        assert self.streams.training is not None
        with self.clock.step(f"train {chosen.label}"):
            try:
                score = self.body.adapt_and_measure(
                    self._plan(chosen),
                    self.streams.training,
                    self.streams.held_out,
                    steps=self.steps,
                    tokens_per_step=TOKENS_PER_STEP,
                    lr=LEARNING_RATE,
                    seed=self.material.seed,
                    only_new_rows=self.only_new_rows,
                    progress=self.clock.advance,
                    stop=self._late,
                )
            except StoppedError:
                return replace(found, note=_OVER_TRAINING)
            except Exception as error:  # such as too little memory: what was measured still holds
                return replace(found, note=f"not trained: {type(error).__name__}: {brief(error)}")
        if not math.isfinite(score.bits_per_byte):
            return replace(found, note=_NOT_FINITE)
        return replace(found, trained=score.bits_per_byte)

    def _plan(self, chosen: MethodSpec) -> TransferPlan:
        """Made anew each time: the dense part of a plan may be as large as a table, and a trial would keep several."""
        return chosen.plan(self.material, rows=self.rows)[0]


def _far_behind(tried: Sequence[Tried]) -> list[Tried]:
    """The same, with a note at those that are not worth a training."""
    starts = {each.method: each.bits_per_byte for each in tried if each.bits_per_byte is not None}
    most, control = _FAR_BEHIND * min(starts.values(), default=math.inf), starts.get(CONTROL, math.inf)

    def marked(each: Tried) -> Tried:
        if each.method == CONTROL and not each.note:
            return replace(each, note="knows nothing of a token, to compare with")
        if each.method in starts and starts[each.method] >= control:
            return replace(each, note="no better than the mean row")
        return replace(each, note="far behind before training") if starts.get(each.method, 0.0) > most else each

    return [marked(each) for each in tried]


def _quality(each: Tried) -> tuple[bool, float, float]:
    """Orders by what was measured last: trained before others, measured before those that were not."""
    trained = math.inf if each.trained is None else each.trained
    return each.bits_per_byte is None, trained, math.inf if each.bits_per_byte is None else each.bits_per_byte
