"""The rows of trans-tokenization (Remy et al. 2024): a token is the mean of the source tokens that it translates.

The weights are how often the token is aligned with each source token in parallel text, see `salt_ext.alignment`. To
these counts come priors of 1: for the source token of the same form, and for the first piece of a number. Tokens with
neither get the translations of tokens like them (`alignment.smoothing`), each of these tokens with a total of 1000,
source tokens that begin a word doubled, rounded down but not below 1. Rows sum to 1.

By the paper's letter shared tokens are no exception: one that is aligned is made of its alignments, in which its equal
counts 1. Special tokens keep their roles' rows. Where the authors' program differs from this, it is at fault or depends
on chance, and is not followed:

- it finds equal tokens by replacing one tokenizer's word marker by the other's; where one has none, the empty string is
  replaced, which puts the marker before every letter, and nothing is found. Here tokens are compared by their forms.
- it gives a token of which nothing is known the target's unknown token, which it then looks up in the source's
  vocabulary. Here such a token is left to be sampled, as all methods do.
- it doubles source tokens that begin with "\u2581" only, whatever mark the source's tokenizer uses.
- it smooths from tokens that it has just smoothed, in the order of a hash table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salt_ext.alignment.counts import TokenCounts, merged
from salt_ext.alignment.smoothing import similar_tokens
from salt_ext.alignment.table import AlignmentTable
from salt_ext.methods.core.assembly import Combinations, new_ids
from salt_ext.vocab import Anchors, Form, Vocabulary

# What the user or the tokenizers' roles say of a token, no text overrules.
TOLD_KINDS = ("special", "mapped")
ORIGINS = ("mapped", "identical", "smoothed", "unknown")
_SMOOTHED_TOTAL = 1000
_LONGEST_NUMBER = 4
# Helpers' translations that are gathered at a time.
_BLOCK = 1 << 20

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TranslatedRows:
    """What trans-tokenization makes of a target vocabulary.

    Attributes:
        combined: the rows that it makes.
        anchors: those that are copied.
        origins: str [rows of combined], where each has its weights from: "mapped" (it is aligned), "identical" (from
            priors alone: the same form, or a number), "smoothed" (from tokens like it), "unknown" (it has none).
    """

    combined: Combinations
    anchors: Anchors
    origins: npt.NDArray[np.str_]

    def coverage(self) -> dict[str, int]:
        """How many tokens are copied, and how many rows are of each origin."""
        return {"copied": len(self.anchors)} | {origin: int((self.origins == origin).sum()) for origin in ORIGINS}


def trans_tokenization(
    table: AlignmentTable, anchors: Anchors, source: Vocabulary, target: Vocabulary, *, copy_shared: bool = False
) -> TranslatedRows:
    """Turns an alignment table into combinations of source rows.

    Args:
        table: counts of aligned tokens.
        anchors: the tokens that both vocabularies share.
        source: the source's vocabulary.
        target: the target's vocabulary; tokens may have been added behind those of the table.
        copy_shared: copy all anchors; by the paper's letter only special tokens and the user's own pairs are.

    Raises:
        InputError: the table is of other tokenizers.
    """
    table.require(source, target)
    copied = anchors if copy_shared else anchors.only(np.isin(anchors.kinds, TOLD_KINDS))
    made = new_ids(copied, target)
    usable = np.isin(table.counts.target_ids, made)
    usable &= ~np.isin(table.counts.source_ids, list(source.special_ids))
    aligned = np.unique(table.counts.target_ids[usable])
    # An anchor that the user has taken apart is none, so that what is left of them are equal forms.
    equal = np.isin(anchors.target_ids, made) & ~np.isin(anchors.kinds, TOLD_KINDS)
    numbers = _number_pairs(made, source, target)
    known = merged(
        np.concatenate([table.counts.target_ids[usable], anchors.target_ids[equal], numbers[0]]),
        np.concatenate([table.counts.source_ids[usable], anchors.source_ids[equal], numbers[1]]),
        np.concatenate([table.counts.counts[usable], np.ones(equal.sum() + len(numbers[0]), dtype=np.int64)]),
    )
    with_prior = np.unique(known.target_ids)
    smoothed = _smooth(known, np.setdiff1d(made, with_prior), source, target)
    rows = merged(*(np.concatenate(pair) for pair in zip(_columns(known), _columns(smoothed), strict=True)))
    lengths = np.bincount(rows.target_ids, minlength=target.size)
    totals = np.bincount(rows.target_ids, rows.counts, minlength=target.size)
    origins = np.full(target.size, "unknown", dtype=f"<U{max(map(len, ORIGINS))}")
    for origin, ids in (("smoothed", smoothed.target_ids), ("identical", with_prior), ("mapped", aligned)):
        origins[ids] = origin
    combined = Combinations(
        target_ids=made,
        lengths=lengths[made],
        source_ids=rows.source_ids,
        values=(rows.counts / totals[rows.target_ids]).astype(np.float32),
        residual=np.full(len(made), np.nan, dtype=np.float32),
    )
    return TranslatedRows(combined, copied, origins[made])


def _columns(counts: TokenCounts) -> tuple[Ints, Ints, Ints]:
    return counts.target_ids, counts.source_ids, counts.counts


def _number_pairs(made: Ints, source: Vocabulary, target: Vocabulary) -> tuple[Ints, Ints]:
    """Target ids that are numbers of up to four digits, and of each the longest source token that it begins with."""
    old = {form: number for number, form in reversed(list(enumerate(source.forms))) if form and form.data.isdigit()}
    pairs = []
    for number in made.tolist():
        form = target.forms[number]
        if form is None or not form.data.isdigit() or len(form.data) > _LONGEST_NUMBER:
            continue
        # A tokenizer that parts the space from the digits has only the latter.
        beginnings = [form.data[:size] for size in range(len(form.data), 0, -1)]
        forms = [Form(data, begins) for begins in dict.fromkeys((form.begins_word, False)) for data in beginnings]
        pairs += [(number, old[wanted]) for wanted in forms if wanted in old][:1]
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _smooth(known: TokenCounts, unmapped: Ints, source: Vocabulary, target: Vocabulary) -> TokenCounts:
    """Counts for the tokens that have none, from those of tokens like them."""
    helpers_of = similar_tokens(
        _written(unmapped.tolist(), target), _written(np.unique(known.target_ids).tolist(), target)
    )
    totals = np.bincount(known.target_ids, known.counts, minlength=target.size)
    begins = np.array([form is not None and form.begins_word for form in source.forms], dtype=np.int64)
    share = (1 + begins[known.source_ids]) * _SMOOTHED_TOTAL * known.counts // totals[known.target_ids].astype(np.int64)
    share = np.maximum(1, share)
    first = np.searchsorted(known.target_ids, np.arange(target.size))
    sizes = np.searchsorted(known.target_ids, np.arange(target.size), side="right") - first
    owners = np.repeat(np.fromiter(helpers_of, np.int64), [len(helpers) for helpers in helpers_of.values()])
    helpers = np.array([helper for like in helpers_of.values() for helper in like], dtype=np.int64)
    done = TokenCounts(*np.empty((3, 0), dtype=np.int64))
    ends = np.cumsum(sizes[helpers])
    begin = 0
    while begin < len(helpers):
        finished = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, finished + _BLOCK, side="right")))
        lengths = sizes[helpers[begin:end]]
        inside = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        places = np.repeat(first[helpers[begin:end]], lengths) + inside
        new = (np.repeat(owners[begin:end], lengths), known.source_ids[places], share[places])
        done = merged(*(np.concatenate(pair) for pair in zip(_columns(done), new, strict=True)))
        begin = end
    return done


def _written(ids: list[int], vocabulary: Vocabulary) -> dict[int, bytes]:
    return {number: form.written for number in ids if (form := vocabulary.forms[number]) is not None}
