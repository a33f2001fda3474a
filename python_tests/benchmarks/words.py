"""Made-up words and a tokenizer that was trained on them, for what the methods' benchmark needs of text."""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

_ONSETS = ("", "b", "ch", "d", "f", "g", "h", "k", "kl", "l", "m", "n", "p", "r", "s", "st", "t", "tr", "v", "z")
_ENDS = ("a", "al", "an", "e", "el", "en", "er", "i", "in", "is", "o", "on", "or", "u", "um", "ung")


def made_words(count: int) -> list[str]:
    """Different words of two to five syllables, the same at every call.

    Capitalised, so that tokens that begin a word and others do not have the same text.
    """
    generator = np.random.default_rng(0)
    syllables = [onset + end for onset in _ONSETS for end in _ENDS]
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(generator.choice(syllables, generator.integers(2, 6))).capitalize()] = None
    return list(words)


def trained_tokenizer(words: list[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of `size` tokens.

    Args:
        words: what it is trained on; too few of them do not make so many tokens.
        size: of the vocabulary.

    Raises:
        ValueError: there were too few.
    """
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(words, trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet))
    if inner.get_vocab_size() != size:
        raise ValueError(f"{len(words)} words made {inner.get_vocab_size()} tokens, expected {size}")
    return PreTrainedTokenizerFast(tokenizer_object=inner)
