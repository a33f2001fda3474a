"""What is known of a checkpoint's vocabulary-indexed tensors, and what its user says about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from salt_ext.checkpoint.header import FLOATING, TensorInfo
from salt_ext.errors import InputError


@dataclass(frozen=True)
class ModelOptions:
    """What the user says about a model beyond its configuration.

    Attributes:
        embedding: the key of the input table; given, no model is built and the architecture need not be known.
        head: the key of the output table, where it is a tensor of its own.
        trust_remote_code: whether Python code that comes with the model may run.
    """

    embedding: str | None = None
    head: str | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class VocabularyTensors:
    """The keys of a checkpoint whose tensors have one row (or one column) per token id.

    Attributes:
        input: the input embedding table, [rows, hidden].
        head: the output table where it is a tensor of its own, [rows, hidden]; None when it is tied to an input table.
        others: further tensors, such as the bias of the head [rows], the head of an extra prediction layer, or a
            per-layer table [fewer rows, width]. A tensor may have fewer rows than `input`: the families that have such
            tables (Gemma3n, `vocab_size_per_layer_input`) read row 0 for every id beyond them, so the same model with
            as many rows as `input` has row 0 repeated. Or it is an integer table, of what the model looks up by token
            (DeepSeek-V4's `tid2eid`: the experts that a token goes to).
        tied: whether the head is an input table: `input`, or another one (a decoder's), which is then of `others`.
        duplicates: keys that hold a second copy of a tied tensor; a rewritten checkpoint leaves them out.
        dims: for every key of `names`, the dimension that the vocabulary indexes: 0, except for row vectors [1, rows].
        extra: by key, the rows behind the vocabulary's that the family gives a table whatever its vocabulary, where
            there are any. Llama 3.2 Vision's input table has 8, the first of them <|image|>'s; its head has none.
    """

    input: str
    head: str | None
    others: tuple[str, ...]
    tied: bool
    duplicates: tuple[str, ...]
    dims: Mapping[str, int]
    extra: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Every tensor that a transfer replaces."""
        return (self.input, *(() if self.head is None else (self.head,)), *self.others)


class Skeleton(Protocol):
    """A checkpoint seen as vocabulary-indexed tensors."""

    @property
    def input(self) -> str:
        """The key of the input table."""

    def vocabulary_tensors(self) -> VocabularyTensors:
        """All that the vocabulary indexes.

        Raises:
            InputError: the model has no head, or the head is neither tied nor in the checkpoint.
        """


def check_dtype(info: TensorInfo, where: str) -> None:
    """A table must hold numbers that rows can be computed from.

    Raises:
        InputError: its dtype is none of F16, BF16, F32 and F64.
    """
    if info.dtype not in FLOATING:
        raise InputError(f"{where}: {info.name} has dtype {info.dtype}; F16, BF16, F32 or F64 was expected")


def of_the_table(info: TensorInfo, table: TensorInfo) -> bool:
    """Whether a tensor whose purpose is unknown has one row per token: the table's shape, where that tells anything."""
    square = table.shape[0] == table.shape[-1]
    return info.name != table.name and info.shape == table.shape and not square and info.dtype in FLOATING
