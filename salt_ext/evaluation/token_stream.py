"""A text as one stream of tokens, and what it cost a model: see `salt_ext.evaluation.text`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from salt_ext.errors import InputError
from salt_ext.vocab.rust import rust_errors


@dataclass(frozen=True)
class TextScore:
    """The cost of a text under a model.

    Attributes:
        bits: sum of -log2 p over the counted tokens.
        bytes: UTF-8 bytes of the text.
        tokens: tokens counted, separators left out.
        altered: documents that the tokenizer does not give back as they were (a leading space that it adds is allowed).
    """

    bits: float
    bytes: int
    tokens: int
    altered: int

    @property
    def bits_per_byte(self) -> float:
        """bits / bytes."""
        return self.bits / self.bytes


class TokenStream(NamedTuple):
    """A text as one sequence of tokens.

    Attributes:
        ids: int64 [n].
        counted: bool [n], False for the separators between documents.
        bytes: UTF-8 bytes of the documents.
        altered: documents whose tokens do not decode to them.
    """

    ids: Tensor
    counted: Tensor
    bytes: int
    altered: int


def token_stream(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> TokenStream:
    """Encodes documents one by one, each behind the tokenizer's bos (else eos) token, and joins them.

    Raises:
        InputError: the documents hold no text, or the tokenizer fails on them.
    """
    documents = [document for document in documents if document]
    if not documents:
        raise InputError("the text has no documents, expected at least one that is not empty")
    prefix = document_prefix(tokenizer)
    # verbose=False: a stream is cut into windows, so that no document is too long for the model.
    with rust_errors(tokenizer):
        encoded: list[list[int]] = tokenizer(list(documents), add_special_tokens=False, verbose=False)["input_ids"]
        decoded = tokenizer.batch_decode(encoded, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    altered = sum(a.removeprefix(" ") != b.removeprefix(" ") for a, b in zip(decoded, documents, strict=True))
    ids = torch.tensor([token for tokens in encoded for token in prefix + tokens], dtype=torch.int64)
    counted = torch.ones(len(ids), dtype=torch.bool)
    if prefix:
        lengths = torch.tensor([len(tokens) + 1 for tokens in encoded])
        counted[lengths.cumsum(0) - lengths] = False
    return TokenStream(ids, counted, sum(len(document.encode()) for document in documents), altered)


def document_prefix(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What stands before each document of a stream: the id of bos, else of eos, else nothing."""
    separator = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return [] if separator is None else [int(separator)]


def at_least_one(**sizes: int) -> None:
    """Checks the sizes of windows and batches.

    Raises:
        InputError: one is below 1.
    """
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name} is {size}, expected at least 1")
