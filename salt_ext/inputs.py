"""The two models of a transfer, opened and checked from headers and tokenizers before any tensor is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from salt_ext.checkpoint import Checkpoint
from salt_ext.errors import InputError
from salt_ext.vocab import Vocabulary, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Model:
    """One model of a transfer.

    Attributes:
        checkpoint: its folder.
        tokenizer: its tokenizer.
        vocabulary: what its ids stand for.
    """

    checkpoint: Checkpoint
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary


@dataclass(frozen=True)
class Pair:
    """The source, whose body is kept, and the donor, whose vocabulary is taken."""

    source: Model
    donor: Model


def open_pair(source: str | Path, donor: str | Path) -> Pair:
    """Opens both models.

    Args:
        source: folder or hub name of a causal language model in safetensors.
        donor: folder or hub name of any model with a fast tokenizer and an input embedding table in safetensors.

    Raises:
        InputError: a model is missing, unreadable or of an unknown architecture, the source has no head, a tokenizer is
            not a fast one, or a token id lies beyond its model's table.
    """
    opened = Pair(_open(source, what="source"), _open(donor, what="donor"))
    opened.source.checkpoint.vocabulary_tensors()
    return opened


def _open(name_or_path: str | Path, *, what: str) -> Model:
    checkpoint = Checkpoint.open(name_or_path, what=what)
    try:
        tokenizer = load_tokenizer(checkpoint.folder)
        vocabulary = Vocabulary.from_tokenizer(tokenizer, name=str(name_or_path))
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    checkpoint.require_rows(number for number, token in enumerate(vocabulary.tokens) if token is not None)
    return Model(checkpoint, tokenizer, vocabulary)


def special_frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[str], list[str]]:
    """The special tokens that the tokenizer puts before and after every text by itself."""
    encoded: Any = tokenizer("a")["input_ids"]
    tokens: Any = tokenizer.convert_ids_to_tokens(encoded)
    bare: Any = tokenizer("a", add_special_tokens=False)["input_ids"]
    before = next((n for n in range(len(encoded)) if encoded[n : n + len(bare)] == bare), 0)
    return list(tokens[:before]), list(tokens[before + len(bare) :])
