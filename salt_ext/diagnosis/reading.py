"""One pass of a causal language model over a passage: its states in every layer, what its head is given, its logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from salt_ext.checkpoint.architecture import head_of
from salt_ext.errors import InputError
from salt_ext.evaluation.measuring import wide
from salt_ext.evaluation.precision import computing_in


class Reading(NamedTuple):
    """What a model made of n tokens; all tensors on the CPU.

    Attributes:
        layers: for each layer float32 [n, hidden]; the first is what the input table gives, the last what the head is
            given.
        logits: float32 or wider [n, outputs].
        before: float32 or wider [outputs], logits in front of the first token; None without a token before it.
    """

    layers: tuple[Tensor, ...]
    logits: Tensor
    before: Tensor | None = None

    @property
    def head_input(self) -> Tensor:
        """What the head is given, [n, hidden]."""
        return self.layers[-1]

    def behind(self, prefix: int) -> Reading:
        """The same without the tokens that stand before the passage."""
        if not prefix:
            return self
        return Reading(tuple(layer[prefix:] for layer in self.layers), self.logits[prefix:], self.logits[prefix - 1])

    def token_bits(self, ids: Tensor) -> Tensor:
        """-log2 p of each token given those before it: float64 [n]; 0 of the first where nothing stood before it."""
        before = self.logits[:1] if self.before is None else self.before[None]
        logs = torch.cat([before, self.logits[:-1]]).log_softmax(dim=-1)
        bits: Tensor = -logs.gather(1, ids[:, None])[:, 0].double() / math.log(2)
        if self.before is None:
            bits[0] = 0.0
        return bits


def read(model: PreTrainedModel, ids: Sequence[int], dtype: torch.dtype) -> Reading:
    """Reads tokens.

    Raises:
        InputError: the model's head is no module of its own.
    """
    with _Tap(model) as tap:
        output = _run(model, list(ids), dtype, states=True)
    given = tap.seen
    if given is None or given.shape[-2] != len(ids):
        raise InputError("the model's head is not called as a module: input and head cannot be told apart")
    layers = [layer[0].float().cpu() for layer in output.hidden_states[:-1]]
    return Reading((*layers, given.reshape(len(ids), -1).float().cpu()), wide(output.logits[0]).cpu())


def through_head(model: PreTrainedModel, states: Tensor, dtype: torch.dtype) -> Tensor:
    """What a model's head makes of states, as the model itself calls it, with whatever it does to logits afterwards.

    Args:
        model: the model.
        states: float32 [n, hidden].
        dtype: what matrix products are taken in.

    Returns:
        float32 or wider [n, outputs], on the CPU.

    Raises:
        InputError: the model's head is no module of its own.
    """
    with _Tap(model, instead=states):
        logits = _run(model, [0], dtype, states=False).logits
    if logits.shape[-2] != len(states):
        raise InputError("the model's head is not called as a module: input and head cannot be told apart")
    return wide(logits[0]).cpu()


def _run(model: PreTrainedModel, ids: list[int], dtype: torch.dtype, *, states: bool) -> Any:
    with torch.inference_mode(), computing_in(dtype, model.device):
        given = torch.tensor([ids], device=model.device)
        return model(input_ids=given, use_cache=False, output_hidden_states=states)


class _Tap:
    """Sees what a model's head is given, and may put something else in its place."""

    def __init__(self, model: PreTrainedModel, *, instead: Tensor | None = None) -> None:
        self.seen: Tensor | None = None
        self._model, self._instead = model, instead

    def __enter__(self) -> _Tap:
        head = head_of(self._model)
        if head is None:
            raise InputError("transformers knows no head of this model: input and head cannot be told apart")
        self._handle = head.register_forward_pre_hook(self._look)
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.remove()

    def _look(self, _: torch.nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not given:
            return None
        self.seen = given[0].detach()
        return None if self._instead is None else (self._instead[None].to(given[0]), *given[1:])
