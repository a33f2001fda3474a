"""What the new tokenizer takes from the definitions of the two that it is made of."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tokenizers import AddedToken, Tokenizer

from salt_ext.errors import InputError
from salt_ext.tokenizer.template import SpecialTemplate, read_frame
from salt_ext.vocab import Vocabulary
from salt_ext.vocab.families import backend_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def added_tokens(tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> dict[int, AddedToken]:
    """The added tokens by id, but for byte pieces, which are no tokens of a protocol, and those without a row."""
    added = backend_of(tokenizer, vocabulary.name).get_added_tokens_decoder()
    unwanted = vocabulary.byte_ids
    tokens = vocabulary.tokens
    return {
        number: token
        for number, token in added.items()
        if number not in unwanted and number < len(tokens) and tokens[number] is not None
    }


def unknown_id(vocabulary: Vocabulary) -> int | None:
    """The token for text that the algorithm cannot spell; byte-level ones spell all, and use the role for another."""
    return None if vocabulary.kind.startswith("byte-level") else vocabulary.roles.get("unk")


def special_template_of(tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> SpecialTemplate:
    """What the tokenizer puts around every text.

    Raises:
        InputError: one of these tokens is not in the vocabulary, since the model has no row for it.
    """
    frame = read_frame(tokenizer)
    for number in frame.special_ids:
        if number >= vocabulary.size or vocabulary.tokens[number] is None:
            token = tokenizer.convert_ids_to_tokens(number)
            raise InputError(
                f"tokenizer of {vocabulary.name}: it puts {token!r} (#{number}) around every text, which has no row in "
                "the model's table"
            )
    return frame


def bare_backend(tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary, *, exact: bool = False) -> Tokenizer:
    """A copy of the tokenizer behind a tokenizer of transformers, which neither cuts texts off nor fills them up.

    Added tokens that the vocabulary lacks are left out. Byte pieces are plain ones, so that text is decoded whole where
    special tokens are skipped.

    Args:
        tokenizer: it is not changed.
        vocabulary: of it.
        exact: byte pieces stay as they are.

    Raises:
        InputError: the definition cannot be used.
    """
    plain = frozenset() if exact else vocabulary.byte_ids
    original = backend_of(tokenizer, vocabulary.name)
    text = original.to_str()
    added = set(original.get_added_tokens_decoder())
    kept = {number for number in added if number < vocabulary.size} - plain
    if kept < added:
        definition = json.loads(text)
        definition["added_tokens"] = [token for token in definition["added_tokens"] if token["id"] in kept]
        text = json.dumps(definition)
    try:
        backend = Tokenizer.from_str(text)
    except Exception as error:  # bare, from the Rust library: it opens some files that it would not have written
        raise InputError(f"tokenizer of {vocabulary.name}: its definition cannot be used: {error!s:.300}") from error
    backend.no_truncation()
    backend.no_padding()
    return backend
