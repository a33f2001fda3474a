"""A checkpoint of an architecture that transformers knows: which of its keys the vocabulary indexes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch

from salt_ext.checkpoint.architecture import Architecture
from salt_ext.checkpoint.header import INTEGER, TensorInfo
from salt_ext.checkpoint.keys import match_keys, pieces_of, unwrapping_hint, wrapper_of
from salt_ext.checkpoint.reading import same_bytes
from salt_ext.checkpoint.vocabulary_tensors import VocabularyTensors, check_dtype, of_the_table
from salt_ext.errors import InputError


class ModelSkeleton:
    """The vocabulary-indexed parameters of a model, and the keys that a checkpoint has for them.

    Args:
        architecture: the model without weights.
        tensors: what the checkpoint holds, by key.

    Attributes:
        input: the key of the input table.

    Raises:
        InputError: the checkpoint holds no input table, or one that does not fit the configuration.
    """

    def __init__(self, architecture: Architecture, tensors: Mapping[str, TensorInfo]) -> None:
        self._architecture = architecture
        self._where = architecture.where
        self._tensors = tensors
        self._keys, self._unknown = match_keys(architecture.model, architecture.names, tensors)
        name = input_name(architecture, self._keys, tensors)
        self.input = self._keys[name]
        self._check_shape(name)

    def vocabulary_tensors(self) -> VocabularyTensors:
        """All that the vocabulary indexes. See `VocabularyTensors`.

        Raises:
            InputError: the model has no head, or the head is neither tied nor in the checkpoint.
        """
        wanted = self._architecture.head
        if wanted is None:
            model = type(self._architecture.model).__name__
            raise InputError(f"{self._where}: {model} has no head; a language model was expected")
        tied = self._is_tied(wanted)
        head: str | None = None
        others: list[str] = []
        duplicates: list[str] = []
        dims = {self.input: 0}
        extra = {self.input: self._architecture.extra}
        for name, (tensor, dim, rows) in self._architecture.indexed.items():
            key = self._keys.get(name)
            if key is None or key == self.input:
                continue
            self._check_shape(name)
            primary = self._primary(tensor)
            if primary != key and same_bytes(self._tensors[primary], self._tensors[key]):
                duplicates.append(key)
                continue
            dims[key], extra[key] = dim, rows
            if tensor is wanted and name in self._architecture.head_names and not (tied and primary == key):
                # Here also ends a head that the configuration ties and the file contradicts: transformers reads two.
                head, tied = key, False
            else:
                others.append(key)
        if head is None and not tied:
            raise InputError(
                f"{self._where}: the configuration has an untied head, but the checkpoint holds no tensor for it"
            )
        # Tensors that transformers ignores (the extra prediction layers of some families) still must fit the new ids.
        table = self._tensors[self.input]
        for key in sorted(self._unknown):
            if of_the_table(self._tensors[key], table):
                others.append(key)
                dims[key], extra[key] = 0, extra[self.input]
        constant = {key: rows for key, rows in extra.items() if rows}
        return VocabularyTensors(self.input, head, tuple(others), tied, tuple(duplicates), dims, constant)

    def _is_tied(self, head: torch.Tensor) -> bool:
        """Whether the head is an input table too: the model's, or another that the checkpoint holds (a decoder's)."""
        names = [name for name, (tensor, *_) in self._architecture.indexed.items() if tensor is head]
        own = self._architecture.head_names
        tied = head is self._architecture.input or any(name not in own for name in names)
        return tied and any(name in self._keys for name in names)

    def _primary(self, tensor: torch.Tensor) -> str:
        """The key that holds the values of a group of tied parameters: the input table's where it is of the group."""
        indexed = self._architecture.indexed.items()
        keys = [self._keys[name] for name, (other, *_) in indexed if other is tensor and name in self._keys]
        return self.input if self.input in keys else keys[0]

    def _check_shape(self, name: str) -> None:
        info, tensor = self._tensors[self._keys[name]], self._architecture.indexed[name].tensor
        expected = tuple(tensor.shape)
        if info.shape != expected:
            raise InputError(
                f"{self._where}: {info.name} has shape {list(info.shape)}, but the configuration says {list(expected)}"
            )
        # What the model itself keeps in integers are numbers that it looks up by token, not weights in a few bits.
        if tensor.is_floating_point() or info.dtype not in INTEGER:
            check_dtype(info, self._where)


def input_name(architecture: Architecture, keys: Mapping[str, str], held: Collection[str]) -> str:
    """The name of the input table in the model, one of those that the checkpoint has a key for.

    Args:
        architecture: the model without weights.
        keys: the checkpoint's key by name in the model.
        held: all keys of the checkpoint.

    Raises:
        InputError: it has a key for none.
    """
    names = [name for name, (tensor, *_) in architecture.indexed.items() if tensor is architecture.input]
    for name in names:
        if name in keys:
            return name
    if not keys and (prefix := wrapper_of(held)) is not None:
        raise InputError(f"{architecture.where}: {unwrapping_hint(prefix)}")
    for name in names:
        if pieces := pieces_of(architecture.model, name):
            raise InputError(
                f"{architecture.where}: its input embedding table {name} is made of several tensors of the checkpoint "
                f"({', '.join(pieces)}), which is not supported"
            )
    raise InputError(
        f"{architecture.where}: the checkpoint holds no input embedding table (looked for {', '.join(names)})"
    )
