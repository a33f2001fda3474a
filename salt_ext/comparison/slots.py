"""Where in an opened model its checkpoint's vocabulary-indexed tensors lie, so that others can take their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from salt_ext.checkpoint import NewTensor, VocabularyTensors
from salt_ext.checkpoint.architecture import head_of
from salt_ext.errors import InputError


def find_slots(
    model: PreTrainedModel, tensors: VocabularyTensors, written: Mapping[str, NewTensor]
) -> dict[str, nn.Parameter] | None:
    """The parameter that holds each vocabulary-indexed tensor, by its key in the checkpoint.

    Only input table, head and the head's bias are looked for, by transformers' own accessors, and each must hold
    exactly the numbers that were written. Where anything else of the model has the vocabulary's size (tables for each
    layer, tables that were made from others when the model was opened), nobody knows what would have to change with it.

    Args:
        model: as it was opened.
        tensors: of its checkpoint.
        written: what the checkpoint that was opened holds for them.

    Returns:
        None where the model must be written and opened for every plan.
    """
    found = _candidates(model, tensors)
    rows = written[tensors.input].shape[tensors.dims[tensors.input]]
    own = {id(parameter) for parameter in found.values()}
    if len(own) != len(found) or any(id(t) not in own and rows in t.shape for t in _tensors(model)):
        return None
    head = getattr(head_of(model), "weight", None)
    if tensors.head is None and head is not found.get(tensors.input):
        return None
    return found if all(_holds(parameter, written[key]) for key, parameter in found.items()) else None


def fill_slots(slots: Mapping[str, nn.Parameter], tensors: Mapping[str, NewTensor]) -> None:
    """Puts other numbers of the same shapes into the model."""
    with torch.no_grad():
        for key, parameter in slots.items():
            parameter.copy_(tensors[key].make())


def row_parameters(model: PreTrainedModel, *, rows: int) -> list[nn.Parameter]:
    """Input table, untied head and head's bias: those of them that have so many rows, or a few more behind them.

    Raises:
        InputError: transformers knows none of this model.
    """
    head = head_of(model)
    parts = (getattr(_input(model), "weight", None), getattr(head, "weight", None), getattr(head, "bias", None))
    found = {id(part): part for part in parts if isinstance(part, nn.Parameter) and part.shape[0] >= rows}
    if not found:
        raise InputError("source has no table that transformers knows as its input table: its rows cannot be trained")
    return list(found.values())


def _candidates(model: PreTrainedModel, tensors: VocabularyTensors) -> dict[str, nn.Parameter]:
    head = head_of(model)
    places = {tensors.input: getattr(_input(model), "weight", None)}
    if tensors.head is not None:
        places[tensors.head] = getattr(head, "weight", None)
    if len(tensors.others) == 1:
        places[tensors.others[0]] = getattr(head, "bias", None)
    return {key: part for key, part in places.items() if isinstance(part, nn.Parameter)}


def _input(model: PreTrainedModel) -> Any:
    try:
        return model.get_input_embeddings()
    except (AttributeError, NotImplementedError):  # of a model without such a module
        return None


def _tensors(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())


def _holds(parameter: nn.Parameter, tensor: NewTensor) -> bool:
    return parameter.shape == tensor.shape and torch.equal(parameter.detach().cpu(), tensor.make().to(parameter.dtype))
