"""Which special tokens a model was trained on, told from a few rows of its input table."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from salt_ext.tokenizer.markers import is_filler
from salt_ext.vocab import Vocabulary

# Bytes that no UTF-8 text has: where a vocabulary holds them, no text can have trained them.
_IMPOSSIBLE = frozenset(bytes([byte]) for byte in (0xC0, 0xC1, *range(0xF5, 0x100)))
# So many rows of one kind tell what it looks like; fewer only show rows that are nearly equal to one of them.
_ENOUGH = 4
_MOST = 64
# A sample of ordinary tokens.
_SAMPLE = 512
# Distances to the mean of known unused rows: MiniLM's 99 [unused*] 0.17 to 0.21 (ordinary tokens: median 1.17),
# en-llama's 13 impossible bytes 0.26 to 0.32 (1.70), its untrained </s>, <unk> and <pad> 0.33, 0.31 and 0.08.
_REACH = 1.25
# What is known of unused rows tells nothing where this share of ordinary tokens is like them: MiniLM has 6 % that are.
_COMMON = 0.25
# SmolLM2's 11 untrained special tokens are up to 0.0004 of an ordinary distance apart; its trained <repo_name> and
# <reponame> 0.27, and of 2,000 of its ordinary tokens no two are as near as 0.1.
_NEAR = 0.1
_LOW = 0.05
_BLOCK = 1024


def known_unused(vocabulary: Vocabulary, rows: int) -> list[list[int]]:
    """Rows of the source that no training can have used, by kind, at most 64 of each.

    They are the padding rows and holes, the places that its makers kept free, and bytes that no text has.

    Args:
        vocabulary: of the source.
        rows: of its input table.
    """
    holes = [number for number, token in enumerate(vocabulary.tokens) if token is None]
    tokens = enumerate(vocabulary.tokens)
    free = [number for number, token in tokens if token is not None and is_filler(token)]
    forms = enumerate(vocabulary.forms)
    impossible = [number for number, form in forms if form is not None and form.written in _IMPOSSIBLE]
    return [_some(kind, _MOST) for kind in ([*holes, *range(vocabulary.size, rows)], free, impossible)]


def ordinary_sample(vocabulary: Vocabulary) -> list[int]:
    """Ids of at most 512 tokens that are text, evenly spread."""
    return _some([number for number, form in enumerate(vocabulary.forms) if form is not None], _SAMPLE)


def trained_rows(candidates: Tensor, unused: Sequence[Tensor], ordinary: Tensor) -> Tensor:
    """Which rows were trained: all but those that are like known unused rows, or nearly equal to one another.

    A row that training never reached stays where it was put, or drifts with all others of its kind (the softmax of a
    tied head pushes them alike), so that it lies among the known unused rows, near zero, near the mean row, or beside
    another untrained row. Where ordinary tokens lie there too, as in a model with random weights, nothing is known, and
    the row counts as trained: one row too many costs less than a lost one.

    Args:
        candidates: floating [n, h].
        unused: for each kind of known unused rows floating [any, h].
        ordinary: floating [m, h], rows of ordinary tokens.

    Returns:
        bool [n].
    """
    if not len(candidates) or not len(ordinary):
        return torch.ones(len(candidates), dtype=torch.bool)
    # Around the mean row: the numbers are small then, and so are the errors of the distances.
    mean = ordinary.float().mean(dim=0)
    rows, others = candidates.float() - mean, ordinary.float() - mean
    kinds = [kind.float() - mean for kind in unused]
    found = torch.zeros(len(rows), dtype=torch.bool)
    for kind in kinds:
        if len(kind) >= _ENOUGH:
            found |= _like(kind, rows, others, zero=-mean)
    points = torch.cat([torch.stack([torch.zeros_like(mean), -mean]), *kinds])
    return ~(found | _near(rows, points, others))


def _like(kind: Tensor, rows: Tensor, ordinary: Tensor, *, zero: Tensor) -> Tensor:
    """Which rows lie as near to the kind's mean as its own rows do; else, where that tells nothing, are as long."""
    for centre, spread in ((kind.mean(dim=0), False), (zero, True)):
        own, others, given = (torch.linalg.vector_norm(part - centre, dim=1) for part in (kind, ordinary, rows))
        low, high = float(own.min()) / _REACH if spread else 0.0, float(own.max()) * _REACH
        if float(((others >= low) & (others <= high)).double().mean()) <= _COMMON:
            return torch.logical_and(given >= low, given <= high)
    return torch.zeros(len(rows), dtype=torch.bool)


def _near(rows: Tensor, points: Tensor, ordinary: Tensor) -> Tensor:
    """Which rows are nearly equal to a point or to another row, by the distances from a row to ordinary tokens."""
    found = []
    for begin in range(0, len(rows), _BLOCK):
        block = rows[begin : begin + _BLOCK]
        to_rows = torch.cdist(block, rows)
        to_rows[torch.arange(len(block)), torch.arange(begin, begin + len(block))] = torch.inf
        nearest = torch.cat([to_rows, torch.cdist(block, points)], dim=1).min(dim=1).values
        found.append(nearest <= _NEAR * torch.cdist(block, ordinary).quantile(_LOW, dim=1))
    return torch.cat(found)


def _some(numbers: list[int], most: int) -> list[int]:
    step = max(1, -(-len(numbers) // most))
    return numbers[::step]
