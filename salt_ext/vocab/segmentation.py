"""The text of a token segmented by another tokenizer, as it does in the midst of a running text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from salt_ext.vocab.families import spelling_of
from salt_ext.vocab.forms import Form, Spelling
from salt_ext.vocab.vocabulary import Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def form_segmenter(vocabulary: Vocabulary, backend: Tokenizer) -> Callable[[Form], list[int]]:
    """A function from a form to the ids that a tokenizer's own model cuts it into, without the unknown token.

    The model is run on the form as it is spelt inside a running text, past the pre-tokenizer, which would take every
    text for the beginning of one.

    Args:
        vocabulary: of the tokenizer.
        backend: the tokenizer, see `backend_of`.

    Raises:
        InputError: its definition has a step that is not known.
    """
    spelling = spelling_of(backend, vocabulary.name)
    of_byte = {
        vocabulary.forms[number].written: number  # type: ignore[union-attr]
        for number in vocabulary.byte_ids
        if vocabulary.forms[number] is not None
    }
    unwanted = vocabulary.special_ids

    def tokenize(piece: str) -> list[int]:
        return [token.id for token in backend.model.tokenize(piece) if token.id not in unwanted] if piece else []

    def cut(form: Form) -> list[int]:
        if spelling.byte_alphabet:
            return tokenize(spelling.spell_bytes(_normal_bytes(form.written, backend)))
        try:
            text = _normal(form.data.decode("utf-8"), backend)
        except UnicodeDecodeError:
            return [of_byte[bytes([byte])] for byte in form.written if bytes([byte]) in of_byte]
        if spelling.unmarked_begins_word:
            return _segment_words(text, form.begins_word, backend, spelling, tokenize)
        text = f" {text}" if form.begins_word else text
        for spelt, meant in spelling.replacements:
            text = text.replace(meant, spelt)
        return tokenize(text if not spelling.word_suffix else text.strip())

    return cut


def _segment_words(
    text: str, begins_word: bool, backend: Tokenizer, spelling: Spelling, tokenize: Callable[[str], list[int]]
) -> list[int]:
    """By WordPiece: each word by itself, the first one as the rest of a word where the form does not begin one."""
    splitter = backend.pre_tokenizer
    words = [word for word, _ in splitter.pre_tokenize_str(text)] if splitter is not None else text.split()
    if begins_word or not words or not spelling.continuing_prefix:
        return [number for word in words for number in tokenize(word)]
    first = _continue_word(words[0], backend, spelling.continuing_prefix)
    return [*first, *(number for word in words[1:] for number in tokenize(word))]


def _continue_word(rest: str, backend: Tokenizer, prefix: str) -> list[int]:
    """WordPiece's rule, longest match first, for the rest of a word; nothing where a part of it is unknown."""
    found: list[int] = []
    while rest:
        lengths = range(len(rest), 0, -1)
        match = next(((n, i) for n in lengths if (i := backend.token_to_id(prefix + rest[:n])) is not None), None)
        if match is None:
            return []
        found.append(match[1])
        rest = rest[match[0] :]
    return found


def _normal(text: str, backend: Tokenizer) -> str:
    """The text under the donor's normalizer (a lower-casing one, say), without the spaces that this may write."""
    if backend.normalizer is None:
        return text
    changed = str(backend.normalizer.normalize_str(text)).replace("\u2581", " ")
    return changed if text[:1].isspace() or not text else changed.removeprefix(" ")


def _normal_bytes(written: bytes, backend: Tokenizer) -> bytes:
    try:
        return _normal(written.decode("utf-8"), backend).encode("utf-8")
    except UnicodeDecodeError:
        return written
