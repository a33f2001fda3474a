"""Donor vectors for a tokenizer that is not the donor's: of the equal form, else the mean of the donor's pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext.errors import InputError
from salt_ext.vocab import Vocabulary
from salt_ext.vocab.anchors import index_forms
from salt_ext.vocab.families import backend_of
from salt_ext.vocab.rust import rust_errors
from salt_ext.vocab.segmentation import form_segmenter

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase


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
    cut = form_segmenter(donor, backend)
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
