"""The short training that arms are compared after, on a stream of tokens: all parameters, or some rows alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from salt_ext.errors import InputError
from salt_ext.evaluation.measuring import Stop, check_time, logits_of, outputs_of, wide, windows_at_once
from salt_ext.evaluation.precision import computing_in
from salt_ext.evaluation.token_stream import TokenStream, at_least_one

# A table of the model, and int64 [n], the rows of it that are trained.
TableRows = tuple[nn.Parameter, Tensor]


def adapt_stream(
    model: PreTrainedModel,
    stream: TokenStream,
    *,
    steps: int,
    tokens_per_step: int,
    lr: float,
    seed: int,
    context: int = 512,
    dtype: torch.dtype | None = None,
    only_rows: Sequence[TableRows] | None = None,
    progress: Callable[[int, int], None] | None = None,
    stop: Stop | None = None,
) -> list[float]:
    """`salt_ext.evaluation.text.adapt` on a text that is encoded already, for several models with one tokenizer.

    A step whose logits would take much memory is read in parts, their gradients summed. torch's random numbers, which
    dropout draws, are those of `seed`, and are behind it as they were before.

    Args:
        model: float32 or float64.
        stream: the text.
        steps: updates.
        tokens_per_step: rounded down to whole windows, at least one.
        lr: the highest learning rate.
        seed: of the order of the windows.
        context: tokens in a window.
        dtype: what matrix products are taken in; None for the weights' own, in which all updates are made.
        only_rows: tables of the model and the rows of each that are trained, every other number staying bit for bit;
            None for all parameters.
        progress: called with (steps done, steps in all).
        stop: asked before every part of a step; True ends the work, the model being left where it is.

    Returns:
        The training loss of each step, nats per token.

    Raises:
        InputError: fewer tokens than one window, or a size out of range.
        StoppedError: by `stop`.
    """
    at_least_one(context=context, tokens_per_step=tokens_per_step)
    if steps < 0 or lr <= 0:
        raise InputError(f"steps is {steps} and lr is {lr}, expected steps >= 0 and lr > 0")
    ids = stream.ids
    count = (len(ids) - 1) // context
    if count < 1:
        raise InputError(f"the text has {len(ids)} tokens, expected more than one window of {context}")
    windows = ids[: count * context].view(count, context)
    targets = ids[1 : count * context + 1].view(count, context)
    order = _order(count, seed)
    per_step = max(1, tokens_per_step // context)
    at_once = windows_at_once(outputs_of(model), context, per_step)
    losses = []
    with _training(model, seed), _Trained(model, only_rows) as trained:
        optimizer = torch.optim.AdamW(trained.parameters, lr=lr, betas=(0.9, 0.95), weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
        for step in range(steps):
            chosen = torch.tensor([next(order) for _ in range(per_step)])
            loss = 0.0
            for part in chosen.split(at_once):
                check_time(stop)
                loss += _learn(model, windows[part], targets[part], share=len(part) / per_step, dtype=dtype)
            trained.take_gradients()
            torch.nn.utils.clip_grad_norm_(trained.parameters, 1.0)
            optimizer.step()
            schedule.step()
            trained.put_back()
            losses.append(loss)
            if progress is not None:
                progress(step + 1, steps)
    return losses


def _learn(
    model: PreTrainedModel, inputs: Tensor, targets: Tensor, *, share: float, dtype: torch.dtype | None
) -> float:
    """Adds the gradients of a part of a step, of which it is such a share; its part of the loss."""
    with computing_in(dtype, model.device):
        logits = wide(logits_of(model, inputs))
    loss = cross_entropy(logits.flatten(0, 1), targets.flatten().to(logits.device)) * share
    loss.backward()
    return float(loss.item())


class _Trained:
    """What the optimizer moves: the model's parameters, or copies of some rows, so that decay spares all the others.

    Attributes:
        parameters: for the optimizer.
    """

    def __init__(self, model: PreTrainedModel, only_rows: Sequence[TableRows] | None) -> None:
        self._model = model
        self._rows = None if only_rows is None else [(table, rows.to(table.device)) for table, rows in only_rows]
        self._needed = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        if self._rows is None:
            self.parameters = list(model.parameters())
        else:
            self.parameters = [nn.Parameter(table.detach()[rows]) for table, rows in self._rows]

    def __enter__(self) -> _Trained:
        self._model.zero_grad(set_to_none=True)
        if self._rows is not None:
            self._model.requires_grad_(False)
            for table, _ in self._rows:
                table.requires_grad_(True)
        return self

    def __exit__(self, *_: object) -> None:
        # Gradients are as large as the model, and nobody reads them any more.
        for parameter, needed in self._needed:
            parameter.grad = None
            parameter.requires_grad_(needed)

    def take_gradients(self) -> None:
        """Before the optimizer's step; what comes to the rows goes to their copies, and the rest is dropped."""
        for (table, rows), copies in zip(self._rows or (), self.parameters, strict=False):
            copies.grad = None if table.grad is None else table.grad[rows]

    def put_back(self) -> None:
        """Behind the optimizer's step: the copies into their tables, and no gradient is left."""
        with torch.no_grad():
            for (table, rows), copies in zip(self._rows or (), self.parameters, strict=False):
                table[rows] = copies
        self._model.zero_grad(set_to_none=True)


@contextmanager
def _training(model: PreTrainedModel, seed: int) -> Iterator[None]:
    """Training mode and random numbers of their own in the block."""
    mode = model.training
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        model.train()
        try:
            yield
        finally:
            model.train(mode)


def _order(count: int, seed: int) -> Iterator[int]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def _rate(step: int, steps: int) -> float:
    warmup = max(1, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
