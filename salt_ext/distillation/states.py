"""One pass of a model over token ids: hidden states behind a layer, logits, and no more layers than these need."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers import PreTrainedModel

from salt_ext.errors import InputError


class Pass(NamedTuple):
    """What a model made of token ids.

    Attributes:
        states: [windows, length, width]; None where they were not wanted.
        logits: [windows, length, outputs]; None where they were not wanted.
    """

    states: Tensor | None
    logits: Tensor | None


class _ReachedError(Exception):
    """The layer is behind us; nothing else was wanted."""


def layers_of(model: PreTrainedModel) -> nn.ModuleList:
    """The body's layers.

    Raises:
        InputError: they are not a list of the configured length.
    """
    count = model.config.get_text_config().num_hidden_layers
    found = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
    if not found:
        raise InputError(
            f"model {type(model).__name__} has no list of {count} layers, expected a causal language model"
        )
    return found[0]


def read(model: PreTrainedModel, ids: Tensor, *, layer: int | None, logits: bool) -> Pass:
    """Runs a model without a cache, up to the layer where no logits are wanted.

    Args:
        model: a causal language model.
        ids: int64 [windows, length].
        layer: 1 for what the first layer gives; None for no hidden states.
        logits: whether they are wanted.
    """
    if layer is None and not logits:
        return Pass(None, None)
    kept: list[Tensor] = []

    def keep(_: nn.Module, __: Any, output: Any) -> None:
        kept.append(output if isinstance(output, Tensor) else output[0])
        if not logits:
            raise _ReachedError

    hook = None if layer is None else layers_of(model)[layer - 1].register_forward_hook(keep)
    try:
        found: Any = model(input_ids=ids, use_cache=False).logits
    except _ReachedError:
        found = None
    finally:
        if hook is not None:
            hook.remove()
    return Pass(kept[0] if kept else None, found)
