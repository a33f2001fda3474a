"""Whether a parallel text lies the way round that the two tokenizers do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from salt_ext.vocab import encode_lines

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SAMPLE = 500
# Texts that both tokenizers know equally well differ by less.
_CLEARLY = 1.05


def looks_swapped(tokenizers: Sequence[PreTrainedTokenizerBase], texts: Sequence[Sequence[str]]) -> bool:
    """Whether source and target would need clearly fewer tokens in all, each for the other's text.

    A tokenizer cuts its own language into fewer pieces. It is no proof, since a text may be of neither language.

    Args:
        tokenizers: the source's and the target's.
        texts: lines of the source text and of the target text, of which some all over the text are looked at.
    """
    step = max(1, len(texts[0]) // _SAMPLE)
    straight, crossed = (
        sum(len(encode_lines(tokenizer, lines[::step])) for tokenizer, lines in zip(tokenizers, ordered, strict=True))
        for ordered in (texts, texts[::-1])
    )
    return straight > _CLEARLY * crossed
