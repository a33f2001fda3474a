"""Which tensors of a checkpoint are indexed by the vocabulary, and which of them are one and the same.

Nothing here guesses from names. The model is built twice on the meta device (no memory), once as configured and once
with a larger vocabulary: the parameters whose shape differs are the ones that the vocabulary indexes. transformers' own
accessors say which is the input table and which the head, its own tying says which share memory, and its own renaming
rules lead from the keys of a checkpoint, old or new, to the parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
import transformers
from torch import nn
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming

from salt_ext.checkpoint.header import TensorInfo
from salt_ext.errors import InputError

_TABLE_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class VocabularyTensors:
    """The keys of a checkpoint whose first dimension is the vocabulary.

    Attributes:
        input: the input embedding table, [rows, hidden].
        head: the output table where it is a tensor of its own; None when it is tied to `input`.
        others: further tensors, such as the bias of the head [rows] or the head of an extra prediction layer.
        tied: whether the head is the input table.
        duplicates: keys that hold a second copy of a tied tensor; a rewritten checkpoint leaves them out.
    """

    input: str
    head: str | None
    others: tuple[str, ...]
    tied: bool
    duplicates: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor that a transfer replaces."""
        return (self.input, *(() if self.head is None else (self.head,)), *self.others)


class Skeleton:
    """A model without weights: its vocabulary-indexed parameters, and the keys that a checkpoint has for them.

    Args:
        config: the model's configuration.
        tensors: what the checkpoint holds, by key.
        where: the model, for messages.

    Raises:
        InputError: transformers has no such architecture, or the checkpoint's table does not fit the configuration.
    """

    def __init__(self, config: transformers.PretrainedConfig, tensors: Mapping[str, TensorInfo], *, where: str) -> None:
        self._tensors = tensors
        self._where = where
        self._model = _on_meta(config, where)
        larger = _on_meta(_with_larger_vocabulary(config), where)
        shapes = {name: parameter.shape for name, parameter in _parameters(larger)}
        # Only what loading would fill counts, so that the two models are compared parameter by parameter.
        self._indexed = {name: p for name, p in _parameters(self._model) if p.shape != shapes[name]}
        for name, parameter in self._indexed.items():
            if parameter.shape[1:] != shapes[name][1:]:
                raise InputError(f"{where}: the vocabulary is not the first dimension of {name}")
        self._keys = _checkpoint_keys(self._model, tensors)
        self.input = self._find_input()

    def vocabulary_tensors(self) -> VocabularyTensors:
        """All that the vocabulary indexes. See `VocabularyTensors`.

        Raises:
            InputError: the model has no head, or the head is neither tied nor in the checkpoint.
        """
        head_parameter = getattr(cast("Any", self._model).get_output_embeddings(), "weight", None)
        if head_parameter is None:
            raise InputError(f"{self._where}: {type(self._model).__name__} has no head; a language model was expected")
        tied = head_parameter is self._parameter(self._model.get_input_embeddings())
        head: str | None = None
        others: list[str] = []
        duplicates: list[str] = []
        used = {self.input}
        for name, parameter in self._indexed.items():
            key = self._keys.get(name)
            if key is None or key in used:
                continue
            used.add(key)
            self._check_shape(key, name)
            primary = self._primary(parameter)
            if primary != key and _same_bytes(self._tensors[primary], self._tensors[key]):
                duplicates.append(key)
            elif parameter is head_parameter:
                # Here also ends a head that the configuration ties and the file contradicts: transformers reads two.
                head, tied = key, False
            else:
                others.append(key)
        if head is None and not tied:
            raise InputError(
                f"{self._where}: the configuration has an untied head, but the checkpoint holds no tensor for it"
            )
        # Tensors that transformers ignores (the extra prediction heads of some families) still must fit the new ids.
        shape = self._tensors[self.input].shape
        known = set(self._keys.values())
        others += [key for key, info in self._tensors.items() if info.shape == shape and key not in known]
        return VocabularyTensors(self.input, head, tuple(others), tied, tuple(duplicates))

    def _parameter(self, module: nn.Module) -> torch.Tensor:
        return cast("torch.Tensor", module.weight)

    def _primary(self, parameter: torch.Tensor) -> str:
        """The key that holds the values of a group of tied parameters: the input table's where it is of the group."""
        keys = [self._keys[name] for name, other in self._indexed.items() if other is parameter and name in self._keys]
        return self.input if self.input in keys else keys[0]

    def _find_input(self) -> str:
        try:
            table = self._parameter(self._model.get_input_embeddings())
        except (AttributeError, NotImplementedError):
            raise InputError(f"{self._where}: {type(self._model).__name__} has no input embedding table") from None
        own = [name for name, parameter in self._indexed.items() if parameter is table]
        for name in own:
            if (key := self._keys.get(name)) is not None:
                self._check_shape(key, name)
                return key
        raise InputError(f"{self._where}: the checkpoint holds no input embedding table (looked for {', '.join(own)})")

    def _check_shape(self, key: str, name: str) -> None:
        info, expected = self._tensors[key], tuple(self._indexed[name].shape)
        if info.shape != expected:
            raise InputError(
                f"{self._where}: {key} has shape {list(info.shape)}, but the configuration says {list(expected)}"
            )
        if info.torch_dtype not in _TABLE_DTYPES:
            raise InputError(f"{self._where}: {key} has dtype {info.dtype}; F16, BF16, F32 or F64 was expected")


def _on_meta(config: transformers.PretrainedConfig, where: str) -> transformers.PreTrainedModel:
    """The architecture that the checkpoint was saved from, else what the configuration maps to."""
    names = [*(getattr(config, "architectures", None) or []), "AutoModelForCausalLM", "AutoModel"]
    failure: Exception | None = None
    for name in names:
        model_class = getattr(transformers, str(name), None)
        # `_from_config` builds a named class the way that the auto classes do, attention choice and dtype included.
        build = getattr(model_class, "from_config" if name in names[-2:] else "_from_config", None)
        if build is None:
            continue
        try:
            with torch.device("meta"):
                return cast("transformers.PreTrainedModel", build(copy.deepcopy(config)))
        except Exception as error:  # configurations come from anywhere: whatever breaks, it is this model's
            failure = failure or error
    reason = str(failure).strip().splitlines()[0] if failure is not None and str(failure).strip() else repr(failure)
    raise InputError(f"{where}: transformers cannot build a model of type {config.model_type!r}: {reason}")


def _with_larger_vocabulary(config: transformers.PretrainedConfig) -> transformers.PretrainedConfig:
    larger = copy.deepcopy(config)
    for part in (larger, larger.get_text_config()):
        for key, value in list(vars(part).items()):
            if key.startswith("vocab_size") and isinstance(value, int):
                # One step for every family, also for those that round their tables up to a multiple.
                setattr(part, key, value + 1024)
    return larger


def _parameters(model: nn.Module) -> Iterable[tuple[str, torch.Tensor]]:
    return model.named_parameters(remove_duplicate=False)


def _checkpoint_keys(model: transformers.PreTrainedModel, tensors: Iterable[str]) -> dict[str, str]:
    """Parameter name -> checkpoint key, as `from_pretrained` would match them."""
    renamings: list[Any] = [rule for rule in get_model_conversion_mapping(model) if isinstance(rule, WeightRenaming)]
    known = {name for name, _ in _parameters(model)}
    prefix = f"{model.base_model_prefix}."
    found: dict[str, str] = {}
    for key in tensors:
        renamed = key
        for rule in renamings:
            renamed, _ = rule.rename_source_key(renamed)
        for name in (renamed, renamed.removeprefix(prefix), prefix + renamed):
            if name in known:
                found.setdefault(name, key)
                break
    return found


def _same_bytes(first: TensorInfo, second: TensorInfo) -> bool:
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    step, done = 1 << 22, 0
    with first.file.open("rb") as one, second.file.open("rb") as two:
        one.seek(first.begin)
        two.seek(second.begin)
        while done < first.nbytes:
            count = min(step, first.nbytes - done)
            if one.read(count) != two.read(count):
                return False
            done += count
    return True
