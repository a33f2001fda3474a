"""A model as its configuration describes it, built without weights, and what of it the vocabulary indexes.

Nothing here guesses from names. The model is built twice on the meta device (no memory), once as configured and once
with a larger vocabulary: the parameters and buffers whose shape differs are the ones that the vocabulary indexes, and
by how much says whether a table has a constant number of rows besides (Llama 3.2 Vision: 8).
transformers' own accessors say which is the input table and which the head, its own tying says which share memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
import transformers
from torch import nn

from salt_ext.checkpoint.config import part_at, vocabulary_parts, vocabulary_sizes
from salt_ext.checkpoint.layout import read_config
from salt_ext.checkpoint.limits import TooLargeError, bounded_building
from salt_ext.checkpoint.model_config import model_config
from salt_ext.errors import InputError

# Large enough for families that round their tables up to a multiple, and itself no multiple: a table that grows by
# exactly this has one row a token, and what it has besides is constant.
_STEP = 1025


class UnknownArchitectureError(InputError):
    """transformers cannot build the model, so that its tensors must be named by the user."""


class Indexed(NamedTuple):
    """A parameter or buffer of the vocabulary's.

    Attributes:
        tensor: it, on the meta device.
        dim: the dimension of it that the vocabulary indexes.
        extra: rows behind the vocabulary's that it has whatever the vocabulary's size.
    """

    tensor: torch.Tensor
    dim: int
    extra: int


class Architecture:
    """A model without weights.

    Args:
        folder: holds config.json.
        where: the model, for messages.
        tensors: how many tensors the whole checkpoint holds.
        trust_remote_code: whether Python code that comes with the model may run.

    Attributes:
        model: the model, on the meta device.
        names: the names of all its parameters and buffers.
        indexed: what the vocabulary indexes, by the name that the model has for it; tied tensors under all their names.
        input: the input table, one of `indexed`.
        extra: its rows behind the vocabulary's, see `Indexed`.
        head: the weight of the head, the same object as `input` where they are tied; None where there is no head.
        head_names: the names of that weight as the head's own.

    Raises:
        UnknownArchitectureError: transformers has no such architecture, or cannot build it.
        InputError: the model has no input table, or the vocabulary is not its first dimension; or its configuration
            describes far more than the checkpoint holds.
    """

    def __init__(self, folder: Path, *, where: str, tensors: int, trust_remote_code: bool) -> None:
        config = _read_config(folder, trust_remote_code)
        self.where = where
        with bounded_building(tensors, where):
            self.model, config = _build(config, trust_remote_code)
        with bounded_building(tensors, where):
            larger, _ = _build(_with_larger_vocabulary(config), trust_remote_code)
        shapes = {name: tensor.shape for name, tensor in _tensors(larger)}
        self.names = frozenset(shapes)
        self.indexed: dict[str, Indexed] = {}
        rows = getattr(part_at(config, vocabulary_parts(config)[0]), "vocab_size", None)
        for name, tensor in _tensors(self.model):
            dims = [i for i, (old, new) in enumerate(zip(tensor.shape, shapes[name], strict=True)) if old != new]
            if len(dims) > 1:
                raise InputError(
                    f"{where}: the vocabulary is more than one dimension of {name}, which is not supported"
                )
            if dims:
                size, larger_size = tensor.shape[dims[0]], shapes[name][dims[0]]
                constant = size - rows if rows is not None and larger_size - size == _STEP else 0
                self.indexed[name] = Indexed(tensor, dims[0], max(constant, 0))
        table = self._weight(_module(self.model.get_input_embeddings))
        if table is None:
            raise InputError(f"{where}: {type(self.model).__name__} has no input embedding table")
        self.input = table
        self.extra = next(rows for tensor, _, rows in self.indexed.values() if tensor is table)
        head = head_of(self.model)
        self.head = self._weight(head)
        modules = self.model.named_modules(remove_duplicate=False)
        self.head_names = frozenset(f"{name}.weight" for name, module in modules if module is head)

    def _weight(self, module: Any) -> torch.Tensor | None:
        weight = getattr(module, "weight", None)
        found = [tensor for tensor, dim, _ in self.indexed.values() if tensor is weight and dim == 0]
        return found[0] if found else None


def head_of(model: transformers.PreTrainedModel) -> Any:
    """The model's head, or that of the one part of it that has one: some families give only their parts an accessor."""
    if (head := _module(model.get_output_embeddings)) is not None:
        return head
    parts = [part for part in model.modules() if isinstance(part, transformers.PreTrainedModel)]
    heads = {id(head): head for part in parts if (head := _module(part.get_output_embeddings)) is not None}
    return next(iter(heads.values())) if len(heads) == 1 else None


def _module(accessor: Any) -> Any:
    try:
        return accessor()
    except (AttributeError, NotImplementedError):  # of a model without such a module
        return None


def _read_config(folder: Path, trust_remote_code: bool) -> transformers.PretrainedConfig:
    read_config(folder)
    try:
        return model_config(folder, trust_remote_code=trust_remote_code)
    except Exception as error:  # configurations come from anywhere: whatever breaks, it is this model's
        raise UnknownArchitectureError(
            f"transformers cannot read {folder / 'config.json'}: {_first_line(error)}"
        ) from error


def _build(
    config: transformers.PretrainedConfig, trust_remote_code: bool
) -> tuple[transformers.PreTrainedModel, transformers.PretrainedConfig]:
    """The first model of the candidates that can be built, and the configuration that it was built from."""
    failure: Exception | None = None
    for build, of in _candidates(config, trust_remote_code):
        try:
            with torch.device("meta"):
                return build(copy.deepcopy(of)), of
        except TooLargeError:
            raise
        except Exception as error:  # as above
            failure = failure or error
    raise UnknownArchitectureError(
        f"transformers cannot build a model of type {config.model_type!r}: {_first_line(failure)}"
    ) from failure


def _candidates(
    config: transformers.PretrainedConfig, trust_remote_code: bool
) -> Iterator[tuple[Any, transformers.PretrainedConfig]]:
    """The model's own code if it may run, the class that it was saved from, then what the configuration maps to."""
    automatic = [transformers.AutoModelForCausalLM, transformers.AutoModel]
    if config.is_encoder_decoder:
        # Of an encoder-decoder, the causal class would be its decoder alone.
        automatic.insert(0, transformers.AutoModelForSeq2SeqLM)

    def builder(auto: Any) -> Any:
        return lambda of: auto.from_config(of, trust_remote_code=trust_remote_code)

    if trust_remote_code:
        own = getattr(config, "auto_map", None) or {}
        yield from ((builder(auto), config) for auto in automatic if auto.__name__ in own)
    named = getattr(config, "architectures", None)
    for name in named if isinstance(named, list) else []:
        found = getattr(transformers, str(name), None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            # Builds a class the way that the auto classes do, attention choice and dtype included.
            yield cast("Any", found)._from_config, config
    yield from ((builder(auto), config) for auto in automatic)
    text = vocabulary_parts(config)[0]
    if text:
        # Towers for images or sound may need packages that are not installed. The language model is all that matters.
        part = copy.deepcopy(part_at(config, text))
        part.tie_word_embeddings = config.tie_word_embeddings
        yield builder(transformers.AutoModelForCausalLM), part


def _with_larger_vocabulary(config: transformers.PretrainedConfig) -> transformers.PretrainedConfig:
    larger = copy.deepcopy(config)
    for path in vocabulary_parts(larger):
        part = part_at(larger, path)
        for key in vocabulary_sizes(vars(part)):
            setattr(part, key, getattr(part, key) + _STEP)
    return larger


def _tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters(remove_duplicate=False)
    yield from model.named_buffers(remove_duplicate=False)


def _first_line(error: Exception | None) -> str:
    text = str(error).strip()
    return f"{text.splitlines()[0] if text else repr(error):.300}"
