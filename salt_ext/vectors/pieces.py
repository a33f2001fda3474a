"""Donor vectors for a tokenizer that is not the donor's: of the equal form, else the mean of the donor's pieces."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext.errors import InputError
from salt_ext.vocab import Form, Vocabulary
from salt_ext.vocab.anchors import index_forms
from salt_ext.vocab.families import backend_of, spelling_of
from salt_ext.vocab.rust import rust_errors

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

    from salt_ext.vocab.forms import Spelling

# Rows of pieces that are gathered at a time.
_BLOCK = 1 << 16


def rows_for(target: Vocabulary, donor: Vocabulary, donor_tokenizer: PreTrainedTokenizerBase, table: Tensor) -> Tensor:
    """The donor's vector of every target token.

    A token has the vector of the donor's token of the same form, else the mean over the pieces that the donor's
    tokenizer cuts its text into (unknown pieces do not count), else zeros. Special tokens have zeros unless the donor
    has a special token of the same spelling. Where both have the same ids, the table is returned as it is, or followed
    by zeros for the target's further tokens.

    Args:
        target: the new model's vocabulary.
        donor: the donor's vocabulary.
        donor_tokenizer: what it was read from.
        table: floating [at least donor.size, h], the donor's input table.

    Returns:
        [target.size or more, h], the table's dtype.

    Raises:
        InputError: the table has too few rows, or the tokenizer fails on a token's text.
    """
    if table.ndim != 2 or table.shape[0] < donor.size:
        found, expected = list(table.shape), f"[{donor.size} or more, dimensions]"
        raise InputError(f"donor table: found shape {found}, expected {expected}")
    if target.tokens[: donor.size] == donor.tokens:
        if target.size == donor.size:
            return table
        return torch.cat([table[: donor.size], table.new_zeros(target.size - donor.size, table.shape[1])])
    with rust_errors(donor.name):
        lengths, pieces = _pieces_of(target, donor, backend_of(donor_tokenizer, donor.name))
    return _means(lengths, pieces, table)


def _pieces_of(
    target: Vocabulary, donor: Vocabulary, backend: Tokenizer
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """How many donor pieces each target token has, and their ids one after the other."""
    by_form = index_forms(donor, lambda form: form).best
    special = {donor.tokens[number]: number for number in sorted(donor.special_ids)}
    cut = form_cutter(donor, backend)
    lengths = np.zeros(target.size, dtype=np.int64)
    pieces: list[int] = []
    for number, form in enumerate(target.forms):
        if form is None:
            same = special.get(target.tokens[number]) if number in target.special_ids else None
        else:
            same = by_form.get(form)
        found = [same] if same is not None else [] if form is None else cut(form)
        lengths[number] = len(found)
        pieces.extend(found)
    return lengths, np.array(pieces, dtype=np.int64)


def form_cutter(vocabulary: Vocabulary, backend: Tokenizer) -> Callable[[Form], list[int]]:
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
            return _cut_words(text, form.begins_word, backend, spelling, tokenize)
        text = f" {text}" if form.begins_word else text
        for spelt, meant in spelling.replacements:
            text = text.replace(meant, spelt)
        return tokenize(text if not spelling.word_suffix else text.strip())

    return cut


def _cut_words(
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


def _means(lengths: npt.NDArray[np.int64], pieces: npt.NDArray[np.int64], table: Tensor) -> Tensor:
    """The mean row of each run of pieces, in float32 or wider, block by block."""
    rows = table.new_zeros(len(lengths), table.shape[1])
    ends = lengths.cumsum()
    wide = torch.promote_types(table.dtype, torch.float32)
    begin = 0
    while begin < len(lengths):
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + _BLOCK, side="right")))
        block = torch.from_numpy(lengths[begin:end])
        owners = torch.repeat_interleave(torch.arange(end - begin), block)
        gathered = table[torch.from_numpy(pieces[before : ends[end - 1]])].to(wide)
        sums = gathered.new_zeros(end - begin, table.shape[1]).index_add_(0, owners, gathered)
        rows[begin:end] = (sums / block.clamp(min=1).unsqueeze(1)).to(table.dtype)
        begin = end
    return rows
