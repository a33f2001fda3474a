"""Anchors whose copied row looks untrained in the source, and the new rows that lean on them.

The indicator is that of `salt_ext.methods.core.anchor_filters`: near the rows that no text can reach, as in "Fishing
for Magikarp" (Land & Bartolo 2024, arXiv 2405.05417, section 3.2), or of a norm far outside the others'. A copied row
that nothing was learnt of stays that poor in the new model, and what is made of it is made of noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from salt_ext.diagnosis.subject import Subject
from salt_ext.methods.core.anchor_filters import undertrained
from salt_ext.pair.table_facts import norms_and_finite
from salt_ext.vocab import Vocabulary

_LISTED = 60
# Of the sum of the magnitudes of a row's weights.
_LEANS = 0.25


@dataclass(frozen=True)
class Undertrained:
    """Untrained-looking anchors.

    Attributes:
        anchors: how many copied tokens, special ones left out.
        count: how many of them look untrained.
        text: how many of these are text, not single bytes that cut a character.
        rows: (token id, token, norm in medians of the source's anchors), those that are text first.
        leaning: new rows with at least a quarter of ||w||_1 on such source tokens.
        made: new rows that have weights.
    """

    anchors: int
    count: int
    text: int
    rows: tuple[tuple[int, str, float], ...]
    leaning: int
    made: int


def find_undertrained(subject: Subject, table: Tensor, vocabulary: Vocabulary) -> Undertrained:
    """Looks at the source's rows.

    Args:
        subject: the moved model.
        table: floating [vocabulary.size or more, h], the source's input table.
        vocabulary: the source's.
    """
    bad = undertrained(table, vocabulary)
    targets, sources = subject.copied
    ordinary = np.array([number not in subject.vocabulary.special_ids for number in targets.tolist()], dtype=bool)
    text = subject.text_anchors
    norms = norms_and_finite(table[sources])[0].numpy()
    usual = float(np.median(norms[text])) if text.any() else 1.0
    found = np.flatnonzero(bad[sources] & ordinary)
    order = found[np.argsort(~text[found], kind="stable")][:_LISTED]
    made = subject.made[subject.plan.crow_indices.diff().numpy()[subject.made] > 0]
    return Undertrained(
        anchors=int(ordinary.sum()),
        count=len(found),
        text=int(text[found].sum()),
        rows=tuple(
            (int(targets[place]), subject.name(int(targets[place])), float(norms[place] / (usual or 1.0)))
            for place in order.tolist()
        ),
        leaning=int((_share(subject, torch.from_numpy(bad))[made] >= _LEANS).sum()),
        made=len(made),
    )


def _share(subject: Subject, bad: Tensor) -> Tensor:
    """Of each row's sum of magnitudes the part on bad source tokens: float64 [rows]."""
    plan = subject.plan
    owners = torch.repeat_interleave(torch.arange(plan.target_rows), plan.crow_indices.diff())
    sizes = plan.values.abs().double()
    nothing = torch.zeros(plan.target_rows, dtype=torch.float64)
    whole = nothing.index_add(0, owners, sizes)
    part = nothing.index_add(0, owners, sizes * bad[plan.col_indices])
    return part / whole.where(whole > 0, 1.0)
