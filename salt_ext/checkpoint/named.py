"""A checkpoint whose tables the user names, so that its architecture need not be known."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping

from salt_ext.checkpoint.header import TensorInfo
from salt_ext.checkpoint.vocabulary_tensors import VocabularyTensors, check_dtype, of_the_table
from salt_ext.errors import InputError

_SHOWN = 8
# The table's shape may by chance be that of a matrix of every layer; no model has this many extra prediction layers.
_SERIES = 8
_LOOKS_LIKE_A_TABLE = re.compile(r"emb|wte|tok|vocab|shared|head|output", re.IGNORECASE)


class NamedSkeleton:
    """The tables that the user named, and what certainly belongs to them.

    Args:
        tensors: what the checkpoint holds, by key.
        embedding: the key of the input table.
        head: the key of the output table; None where it is the input table.
        what: "source" or "donor".

    Attributes:
        input: the key of the input table.

    Raises:
        InputError: a key is not there, is no table of numbers, or the two tables have different numbers of rows.
    """

    def __init__(self, tensors: Mapping[str, TensorInfo], embedding: str, head: str | None, *, what: str) -> None:
        self._tensors = tensors
        self._head = head if head != embedding else None
        self.input = embedding
        tables = {embedding_option(what): embedding} | ({} if head is None else {"--head": head})
        for option, key in tables.items():
            require_key(key, tensors, what=what, option=option)
            if len(tensors[key].shape) != 2:
                raise InputError(f"{what}: {option} {key} has shape {list(tensors[key].shape)}; a table was expected")
            check_dtype(tensors[key], what)
        rows = [tensors[key].shape[0] for key in tables.values()]
        if rows[0] != rows[-1]:
            raise InputError(
                f"{what}: --head {head} has {rows[-1]} rows, expected the {rows[0]} of the embedding table {embedding}"
            )

    def vocabulary_tensors(self) -> VocabularyTensors:
        """The named tables, the head's bias, and all tensors of the input table's shape. See `VocabularyTensors`."""
        table = self._tensors[self.input]
        alike = [info.name for info in self._tensors.values() if of_the_table(info, table)]
        others = [key for key in sorted(alike) if key != self._head and _in_series(key, alike) <= _SERIES]
        bias = "" if self._head is None else self._head.removesuffix("weight") + "bias"
        if bias in self._tensors and self._tensors[bias].shape == table.shape[:1]:
            others.append(bias)
        tables = [self.input] if self._head is None else [self.input, self._head]
        dims = dict.fromkeys([*tables, *others], 0)
        return VocabularyTensors(self.input, self._head, tuple(others), self._head is None, (), dims)


def embedding_option(what: str) -> str:
    """The option that names the input table of a model."""
    return "--donor-embedding" if what == "donor" else "--embedding"


def require_key(key: str, keys: Collection[str], *, what: str, option: str) -> None:
    """Checks that a checkpoint holds what an option names.

    Raises:
        InputError: it does not; the nearest keys are named.
    """
    if key in keys:
        return
    near = [name for name in keys if name.endswith(f".{key}") or key.endswith(f".{name}")]
    near += difflib.get_close_matches(key, keys, n=3, cutoff=0.5)
    hint = f"; near it are {', '.join(dict.fromkeys(near[:5]))}" if near else ""
    raise InputError(f"{what}: {option} names {key}, which the checkpoint does not hold{hint}")


def candidates(tensors: Mapping[str, TensorInfo]) -> str:
    """The tensors of a checkpoint that may be tables: the two-dimensional ones with the most rows, at most 8."""
    matrices = sorted((info for info in tensors.values() if len(info.shape) == 2), key=lambda i: (-i.shape[0], i.name))
    return ", ".join(f"{info.name} {list(info.shape)}" for info in matrices[:_SHOWN])


def candidate_names(keys: Collection[str]) -> str:
    """The keys that may be tables by their names alone, at most 8."""
    return ", ".join(sorted(key for key in keys if _LOOKS_LIKE_A_TABLE.search(key))[:_SHOWN])


def _in_series(key: str, keys: Collection[str]) -> int:
    """How many keys differ from this one in nothing but numbers."""
    return sum(re.sub(r"\d+", "#", other) == re.sub(r"\d+", "#", key) for other in keys)
