"""Anchors whose copied row looks untrained in the source, and the new rows that lean on them.

The indicator is that of `salt_ext.methods.core.anchor_filters`: near the rows that no text can reach, as in "Fishing
for Magikarp" (Land & Bartolo 2024, arXiv 2405.05417, section 3.2), or of a norm far outside the others'; of special
tokens and single bytes that of `salt_ext.tokenizer.trained`, which also finds rows that never left one another. A
copied row that nothing was learnt of stays that poor in the new model, and what is made of it is made of noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from salt_ext.diagnosis.subject import Subject
from salt_ext.methods.core.anchor_filters import undertrained
from salt_ext.pair.table_facts import norms_and_finite
from salt_ext.tokenizer.trained import known_unused, ordinary_sample, trained_rows
from salt_ext.vocab import Vocabulary

_LISTED = 60
# Of the sum of the magnitudes of a row's weights.
_LEANS = 0.25


@dataclass(frozen=True)
class Undertrained:
    """Untrained-looking anchors.

    Attributes:
        anchors: how many copied tokens.
        count: how many of them look untrained.
        text: how many of these are text, neither special tokens nor single bytes that cut a character.
        rows: (token id, token, norm in medians of the source's anchors), those that are text first.
        leaning: new rows with at least a quarter of ||w||_1 on such source tokens.
        made: new rows that have weights.
        donor: text anchors whose row looks untrained in the donor, which mislead methods that go by it; None where the
            donor's table is missing.
        donor_tokens: some of them.
    """

    anchors: int
    count: int
    text: int
    rows: tuple[tuple[int, str, float], ...]
    leaning: int
    made: int
    donor: int | None
    donor_tokens: tuple[str, ...]


def find_undertrained(subject: Subject, table: Tensor, vocabulary: Vocabulary, donor: Tensor | None) -> Undertrained:
    """Looks at the source's rows.

    Args:
        subject: the moved model.
        table: floating [vocabulary.size or more, h], the source's input table.
        vocabulary: the source's.
        donor: floating [ids or more, h_t], the donor's row of each token of the new tokenizer; None without one.
    """
    targets, sources = subject.copied
    text = subject.text_anchors
    bad = undertrained(table, vocabulary)
    others = sources[~text]
    unused = [table[ids] for ids in known_unused(vocabulary, len(table))]
    bad[others] |= ~trained_rows(table[others], unused, table[ordinary_sample(vocabulary)]).numpy()
    misleading = None if donor is None else targets[text & undertrained(donor, subject.vocabulary)[targets]]
    norms = norms_and_finite(table[sources])[0].numpy()
    usual = float(np.median(norms[text])) if text.any() else 1.0
    found = np.flatnonzero(bad[sources])
    order = found[np.argsort(~text[found], kind="stable")][:_LISTED]
    made = subject.made[subject.plan.crow_indices.diff().numpy()[subject.made] > 0]
    return Undertrained(
        anchors=len(targets),
        count=len(found),
        text=int(text[found].sum()),
        rows=tuple(
            (int(targets[place]), subject.name(int(targets[place])), float(norms[place] / (usual or 1.0)))
            for place in order.tolist()
        ),
        leaning=int((_share(subject, torch.from_numpy(bad))[made] >= _LEANS).sum()),
        made=len(made),
        donor=None if misleading is None else len(misleading),
        donor_tokens=() if misleading is None else tuple(map(subject.name, misleading[:_LISTED].tolist())),
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
