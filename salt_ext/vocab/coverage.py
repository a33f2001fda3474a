"""How a tokenizer cuts a text, and how much of that the anchors cover."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from salt_ext.errors import InputError
from salt_ext.vocab.anchors import Anchors
from salt_ext.vocab.rust import rust_errors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def encode_lines(tokenizer: PreTrainedTokenizerBase, text_lines: Sequence[str]) -> npt.NDArray[np.int64]:
    """The ids of all lines, one after the other, without special tokens, truncation or padding: int64 [n].

    Raises:
        InputError: the tokenizer fails on the text.
    """
    return np.array([number for line in encode_each(tokenizer, text_lines) for number in line], dtype=np.int64)


def encode_each(tokenizer: PreTrainedTokenizerBase, text_lines: Sequence[str]) -> list[list[int]]:
    """The ids of every line, without special tokens, truncation or padding.

    Raises:
        InputError: the tokenizer fails on the text.
    """
    with rust_errors(tokenizer):
        encoded: list[list[int]] = tokenizer(
            list(text_lines),
            add_special_tokens=False,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]
    return encoded


def bytes_per_token(tokenizer: PreTrainedTokenizerBase, text_lines: Sequence[str]) -> float:
    """UTF-8 bytes of the lines (without their line ends) per token that the tokenizer makes of them.

    Raises:
        InputError: the text yields no token at all.
    """
    tokens = len(_tokens_of(tokenizer, text_lines))
    return sum(len(line.encode("utf-8")) for line in text_lines) / tokens


def anchor_coverage(tokenizer: PreTrainedTokenizerBase, text_lines: Sequence[str], anchors: Anchors) -> float:
    """Share, in [0, 1], of the text's tokens under the target's tokenizer that are anchors.

    Raises:
        InputError: the text yields no token at all.
    """
    return float(np.isin(_tokens_of(tokenizer, text_lines), anchors.target_ids).mean())


def _tokens_of(tokenizer: PreTrainedTokenizerBase, text_lines: Sequence[str]) -> npt.NDArray[np.int64]:
    numbers = encode_lines(tokenizer, text_lines) if text_lines else np.empty(0, dtype=np.int64)
    if not numbers.size:
        raise InputError(f"the text to measure has {len(text_lines)} lines and no token; expected some text")
    return numbers
