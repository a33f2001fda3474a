"""The loop: teacher and student read the same windows, and the rows of new tokens follow the losses."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from salt_ext.distillation.learned_rows import LearnedRows
from salt_ext.distillation.losses import chunk_log_probabilities, chunks_loss, states_loss, token_log_probabilities
from salt_ext.distillation.models import Models
from salt_ext.distillation.optimizer import RowAdam
from salt_ext.distillation.options import DistillOptions
from salt_ext.distillation.paired_text import Batch, Window, batched
from salt_ext.distillation.states import read
from salt_ext.errors import InputError
from salt_ext.evaluation.measuring import windows_at_once

# Of the steps, and as a number: Adam's first steps follow a single batch, and the common map moves every row.
_WARM_UP = 0.05
_WARM_UP_STEPS = 5
_BETAS = (0.9, 0.95)
# Rate of the common map, over that of a row's own difference.
_COMMON = 0.3


class Step(NamedTuple):
    """One update.

    Attributes:
        tokens: of the new tokenizer, that were learned from so far.
        losses: by name, unweighted.
    """

    tokens: int
    losses: dict[str, float]


@dataclass(frozen=True)
class Lesson:
    """What stays the same from step to step.

    Attributes:
        models: student and teacher, frozen.
        learned: the student's rows.
        options: weights of the losses and rates.
        layer: whose states are compared.
        outputs: logits of the larger vocabulary, by which memory is bounded.
    """

    models: Models
    learned: LearnedRows
    options: DistillOptions
    layer: int
    outputs: int

    def learn(
        self, batches: Sequence[Sequence[Window]], *, progress: Callable[[Step], None] | None = None
    ) -> list[Step]:
        """One update for each batch.

        `RowAdam` for the rows' own differences, Adam for what is common; the rate rises over the first twentieth of the
        steps, five at least, and falls along a cosine to a tenth.

        Args:
            batches: the windows of each step.
            progress: called with every step.

        Raises:
            InputError: a loss is not finite; the message says where. The rows stay those of the step before.
        """
        optimizers = [self._optimizer(RowAdam, "own", 1.0), self._optimizer(torch.optim.Adam, "common", _COMMON)]
        rates = [LambdaLR(optimizer, lambda step: _schedule(step, len(batches))) for optimizer in optimizers]
        steps: list[Step] = []
        done = 0
        for windows in batches:
            losses = self._gradients(windows)
            if not all(map(math.isfinite, losses.values())):
                found = ", ".join(f"{name} {value}" for name, value in losses.items())
                raise InputError(f"losses are not finite at step {len(steps) + 1}, behind {done} tokens: {found}")
            for optimizer, rate in zip(optimizers, rates, strict=True):
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                rate.step()
            done += tokens_of(windows)
            steps.append(Step(done, losses))
            if progress is not None:
                progress(steps[-1])
        return steps

    def seconds_of(self, windows: Sequence[Window]) -> float:
        """How long a step takes, by one whose gradients are thrown away."""
        self._gradients(windows[:1])  # what is slow the first time only
        begun = time.perf_counter()
        self._gradients(windows)
        took = time.perf_counter() - begun
        for table in self.learned.tables.values():
            table.own.grad = table.common.grad = None
        return took

    def _optimizer(
        self, kind: Callable[[list[dict[str, Any]]], torch.optim.Optimizer], part: str, share: float
    ) -> torch.optim.Optimizer:
        """Of one part of every table; a step is a share of the root mean square of the table's numbers."""
        groups = []
        for name, table in self.learned.tables.items():
            own = self.options.head_learning_rate if name == "head" else None
            rate = share * (own or self.options.learning_rate) * float(table.before.square().mean().sqrt())
            groups.append({"params": [getattr(table, part)], "lr": rate, "betas": _BETAS})
        return kind(groups)

    def _gradients(self, windows: Sequence[Window]) -> dict[str, float]:
        """Adds the gradients of a step, in parts whose logits fit memory; its losses."""
        found = {"states": 0.0, "chunks": 0.0, "next_token": 0.0}
        # Windows of one length side by side: the shorter ones are padded.
        ordered = sorted(windows, key=lambda window: len(window.student))
        at_once = windows_at_once(self.outputs, self.options.context, len(ordered))
        for begin in range(0, len(ordered), at_once):
            part = ordered[begin : begin + at_once]
            share = tokens_of(part) / tokens_of(windows)
            losses = self._losses(batched(part))
            total: Any = sum(getattr(self.options, name) * value for name, value in losses.items())
            (total * share).backward()
            for name, value in losses.items():
                found[name] += share * value.detach().item()
        return {name: value for name, value in found.items() if getattr(self.options, name)}

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        options, student = self.options, self.models.student
        device = student.device
        layer = self.layer if options.states else None
        with self.models.teacher() as teacher:
            theirs = read(teacher, batch.teacher.to(device), layer=layer, logits=bool(options.chunks))
        with self.learned.in_place():
            mine = read(student, batch.student.to(device), layer=layer, logits=options.reads_all_layers)
        losses = {}
        if mine.states is not None and theirs.states is not None:
            inside = ~batch.begins
            pairs = (mine.states, batch.student_ends), (theirs.states, batch.teacher_ends)
            losses["states"] = states_loss(*(states.flatten(0, 1)[ends[inside].to(device)] for states, ends in pairs))
        if mine.logits is not None:
            tokens = token_log_probabilities(mine.logits, batch.student.to(device))
            if options.next_token:
                losses["next_token"] = -tokens[batch.targets.to(device)].mean()
            if theirs.logits is not None and bool(batch.is_text.any()):
                others = token_log_probabilities(theirs.logits, batch.teacher.to(device))
                chunks = [
                    chunk_log_probabilities(each, ends.to(device), batch.is_text.to(device))
                    for each, ends in ((tokens, batch.student_ends), (others, batch.teacher_ends))
                ]
                losses["chunks"] = chunks_loss(*chunks, temperature=options.temperature)
        return losses


def drawn_batches(windows: Sequence[Window], options: DistillOptions) -> list[list[Window]]:
    """The windows of each step, in an order that depends on the seed alone; all again where the text is too short."""
    drawn = random.Random(options.seed)
    batches: list[list[Window]] = [[]]
    left = options.tokens
    while True:
        for number in drawn.sample(range(len(windows)), len(windows)):
            batches[-1].append(windows[number])
            if tokens_of(batches[-1]) >= min(left, options.tokens_per_step):
                left -= tokens_of(batches[-1])
                if left <= 0:
                    return batches
                batches.append([])


def tokens_of(windows: Sequence[Window]) -> int:
    """The tokens that a student predicts in them."""
    return sum(len(window.student) - 1 for window in windows)


def _schedule(step: int, steps: int) -> float:
    """The rate of a step, from 0, as a part of the highest."""
    warm_up = min(max(_WARM_UP_STEPS, _WARM_UP * steps), steps / 2)
    return min(1.0, (step + 1) / warm_up) * (0.1 + 0.45 * (1 + math.cos(math.pi * step / steps)))
