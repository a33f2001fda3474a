"""Where two tokenisations of one text end at the same character: the places at which two models have read the same.

Model A reads a text with its tokenizer, model B with another. Behind a token of A and a token of B that end at the same
character both have read the same text, and no more: there their hidden states can be compared, and between two such
places the text's probability under A and under B.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from salt_ext.errors import InputError
from salt_ext.vocab.rust import rust_errors

# The end of a token that ends within a character: no place where two tokenisations can meet.
NO_END = -1


class Segmented(NamedTuple):
    """A document as tokens.

    Attributes:
        ids: int64 [n].
        ends: int64 [n], the number of the document's characters that are read behind each token; `NO_END` where a
            character is read in part only, or where a token adds none.
    """

    ids: Tensor
    ends: Tensor


class Boundaries(NamedTuple):
    """Where two tokenisations of a document end together.

    Attributes:
        first: int64 [b], ascending, positions of tokens of the first.
        second: int64 [b], ascending, positions of tokens of the second.
    """

    first: Tensor
    second: Tensor


def segment(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> list[Segmented]:
    """Encodes documents, without the special tokens that the tokenizer puts around a text.

    Raises:
        InputError: the tokenizer gives no offsets, as those written in Python do not.
    """
    if not tokenizer.is_fast:
        kind = type(tokenizer).__name__
        raise InputError(f"tokenizer is a {kind}, which gives no offsets, expected one of the tokenizers library")
    with rust_errors(tokenizer):
        encoded = tokenizer(list(documents), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [
        Segmented(torch.tensor(ids, dtype=torch.int64), _ends(torch.tensor(offsets, dtype=torch.int64)))
        for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
    ]


def common_boundaries(first: Segmented, second: Segmented) -> Boundaries:
    """The pairs of positions behind which both have read the same characters."""
    ends, mine, other = _join(first.ends, second.ends)
    return Boundaries(mine[ends != NO_END], other[ends != NO_END])


def _ends(offsets: Tensor) -> Tensor:
    """[n, 2] of characters -> [n]. Of tokens that share a character all claim the whole of it; the last one ends it."""
    if not len(offsets):
        return offsets.new_empty(0)
    begins, ends = offsets.T
    behind = torch.cat([begins[1:], ends[-1:]])
    whole = torch.where((behind >= ends) & (ends > begins), ends, NO_END)
    # A normaliser that reorders what it reads makes ends fall again: such a place is no common one.
    before = torch.cat([whole.new_full((1,), NO_END), whole.cummax(0).values[:-1]])
    return torch.where(whole > before, whole, NO_END)


def _join(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Values that are in both, and where; but for NO_END each stands once in a tensor, ascending."""
    mine, other = (first != NO_END).nonzero()[:, 0], (second != NO_END).nonzero()[:, 0]
    values = second[other]
    if not len(values):
        return values, other, other
    places = torch.searchsorted(values, first[mine]).clamp(max=len(values) - 1)
    same = values[places] == first[mine]
    return first[mine][same], mine[same], other[places[same]]
