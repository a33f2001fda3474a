"""Every token with what its row was made of, as compact lists: the page's searchable table.

What does not fit the budget is left out: first tokens without a choice (padding, holes), then copied ones, then the new
tokens that are rarest in the text, or have the least striking rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from salt_ext.diagnosis.rows import RowFigures
from salt_ext.diagnosis.subject import Subject
from salt_ext.plan import Provenance

# Rows, of about 120 bytes each.
MOST_TOKENS = 12_000
_SOURCES = 6
_HOW = {kind: kind.name.lower() for kind in Provenance}


@dataclass(frozen=True)
class TokenTable:
    """The table.

    Attributes:
        names: what source tokens write, those that a row names, each once.
        rows: for each token [id, token, provenance, norm ratio, source tokens, ||w||_1, residual or None, count in the
            text or None, [place in names, weight, ...] of up to six sources, the largest magnitude first].
        left_out: tokens that are not in it.
    """

    names: tuple[str, ...]
    rows: tuple[list[Any], ...]
    left_out: int


def make_token_table(
    subject: Subject, figures: RowFigures, counts: npt.NDArray[np.int64] | None, *, most: int = MOST_TOKENS
) -> TokenTable:
    """Collects the rows, by id.

    Args:
        subject: the moved model.
        figures: of its rows.
        counts: int64 [ids], how often the text has each token; None without a text.
        most: rows at most.
    """
    ids = np.flatnonzero(subject.has_token[: subject.vocabulary.size])
    kept = np.sort(_by_weight(subject, figures, counts, ids)[:most])
    names: dict[int, int] = {}
    rows = [_row(subject, figures, counts, number, names) for number in kept.tolist()]
    written = tuple(subject.source_tokens[source] or "" for source in names)
    return TokenTable(written, tuple(rows), len(ids) - len(kept))


def _by_weight(
    subject: Subject, figures: RowFigures, counts: npt.NDArray[np.int64] | None, ids: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    new = np.isin(ids, subject.made)
    striking = np.abs(np.log(np.maximum(figures.norm_ratio[ids], 1e-6))) + 0.01 * figures.l1[ids]
    seen = np.zeros(len(ids)) if counts is None else counts[ids]
    return ids[np.lexsort((-striking, -seen, ~new))]


def _row(
    subject: Subject,
    figures: RowFigures,
    counts: npt.NDArray[np.int64] | None,
    number: int,
    names: dict[int, int],
) -> list[Any]:
    residual = float(figures.residual[number])
    sources: list[float] = []
    for source, weight in subject.plan.explain(number)[:_SOURCES]:
        sources += [names.setdefault(source, len(names)), round(weight, 3)]
    return [
        number,
        subject.name(number),
        _HOW[Provenance(int(subject.plan.provenance[number]))],
        round(float(figures.norm_ratio[number]), 3),
        int(figures.support[number]),
        round(float(figures.l1[number]), 3),
        None if residual != residual else round(residual, 3),
        None if counts is None else int(counts[number]),
        sources,
    ]
