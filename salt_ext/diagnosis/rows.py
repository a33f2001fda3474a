"""The rows of new tokens in numbers: norms, supports, ||w||_1, sums of weights, and those that stand out, by name.

Norms are those of the input table as it is in the folder, also behind a training; weights are the plan's. A row's norm
is compared with the median of the anchors that are text: untrained rows among them (raw bytes, control characters) have
outlying norms and must not set the scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from salt_ext.diagnosis.subject import Subject
from salt_ext.pair.table_facts import norms_and_finite
from salt_ext.pipeline.report import quantiles
from salt_ext.pipeline.start_warnings import weight_sums
from salt_ext.plan import Provenance

_LISTED = 12
_BINS = 40
# Weights that are not negative and add up to 1 have this sum of magnitudes: none of them stands out.
_USUAL_L1 = 1.05


@dataclass(frozen=True)
class Histogram:
    """How often values lie where.

    Attributes:
        edges: ascending, one more than there are bins; what lies beyond is counted in the outermost ones.
        new: for each bin the share of the new rows in it.
        anchors: likewise of the anchors; empty where the figure has no meaning for them.
    """

    edges: tuple[float, ...]
    new: tuple[float, ...]
    anchors: tuple[float, ...]


@dataclass(frozen=True)
class Outstanding:
    """Rows that stand out by one figure.

    Attributes:
        by: which figure, a phrase.
        rows: (token id, token, figure), the most striking first.
    """

    by: str
    rows: tuple[tuple[int, str, float], ...]


@dataclass(frozen=True)
class Rows:
    """The new rows in numbers.

    Attributes:
        counts: rows by provenance.
        norm_ratio: quantiles of norm / median norm of the anchors that are text, of the new rows.
        anchor_norm_ratio: the same of these anchors.
        median_norm: that median, in the table's units.
        support: quantiles of the number of source tokens of a row; None where no row has any.
        weight_l1: quantiles of the sum of the magnitudes of a row's weights.
        weight_sum: quantiles of what they add up to.
        residual: quantiles of what the weights leave of the donor's row; None where the method rebuilds none.
        norms: histogram of the norm ratio.
        l1: histogram of ||w||_1.
        worst: rows that stand out, by figure.
    """

    counts: dict[str, int]
    norm_ratio: dict[str, float] | None
    anchor_norm_ratio: dict[str, float] | None
    median_norm: float
    support: dict[str, float] | None
    weight_l1: dict[str, float] | None
    weight_sum: dict[str, float] | None
    residual: dict[str, float] | None
    norms: Histogram
    l1: Histogram
    worst: tuple[Outstanding, ...]


@dataclass(frozen=True)
class RowFigures:
    """The figures of every id, each [ids]; nan where one has none.

    Attributes:
        norm_ratio: float64.
        support: int64, source tokens.
        l1: float64.
        weight_sum: float64.
        residual: float64.
        median_norm: what norms are divided by.
    """

    norm_ratio: npt.NDArray[np.float64]
    support: npt.NDArray[np.int64]
    l1: npt.NDArray[np.float64]
    weight_sum: npt.NDArray[np.float64]
    residual: npt.NDArray[np.float64]
    median_norm: float


def row_figures(subject: Subject) -> RowFigures:
    """Norms from the folder's table, all else from the plan."""
    plan, size = subject.plan, subject.vocabulary.size
    norms = norms_and_finite(subject.table)[0].numpy()
    anchors = subject.copied[0][subject.text_anchors]
    usual = float(np.median(norms[anchors])) if len(anchors) else float(np.median(norms))
    sums, magnitudes = weight_sums(plan, plan.values, torch.arange(size))
    return RowFigures(
        norm_ratio=norms / (usual or 1.0),
        support=plan.crow_indices.diff()[:size].numpy(),
        l1=magnitudes.numpy(),
        weight_sum=sums.numpy(),
        residual=plan.residual[:size].double().numpy(),
        median_norm=usual,
    )


def describe_rows(subject: Subject, figures: RowFigures) -> Rows:
    """Sums the figures up."""
    new, anchors = subject.made, subject.copied[0][subject.text_anchors]
    regressed = subject.plan.rows(Provenance.REGRESSED).numpy()
    regressed = regressed[regressed < subject.vocabulary.size]
    residual = figures.residual[regressed]
    # A row of a dense map alone has no weights of its own.
    weighted = regressed[figures.support[regressed] > 0]
    top = float(np.quantile(figures.l1[weighted], 0.995)) if len(weighted) else 1.0
    return Rows(
        counts={kind.name.lower(): len(subject.plan.rows(kind)) for kind in Provenance},
        norm_ratio=quantiles(figures.norm_ratio[new]),
        anchor_norm_ratio=quantiles(figures.norm_ratio[anchors]),
        median_norm=figures.median_norm,
        support=quantiles(figures.support[weighted]),
        weight_l1=quantiles(figures.l1[weighted]),
        weight_sum=quantiles(figures.weight_sum[regressed]),
        residual=quantiles(residual[np.isfinite(residual)]),
        norms=_histogram(figures.norm_ratio[new], figures.norm_ratio[anchors], 0.0, 2.0),
        l1=_histogram(figures.l1[weighted], figures.l1[:0], 0.0, max(2.0, top)),
        worst=_worst(subject, figures, new, weighted),
    )


def _worst(
    subject: Subject, figures: RowFigures, new: npt.NDArray[np.int64], weighted: npt.NDArray[np.int64]
) -> tuple[Outstanding, ...]:
    ratio = figures.norm_ratio
    found: tuple[tuple[str, npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]], ...] = (
        ("longest, in anchors' median norms", new, ratio, -ratio),
        ("shortest, in anchors' median norms", new, ratio, ratio),
        ("largest ‖w‖₁", weighted[figures.l1[weighted] > _USUAL_L1], figures.l1, -figures.l1),
        ("residual: most of the donor's row is left", new, figures.residual, -figures.residual),
    )
    if subject.plan.dense is not None:
        learned = subject.plan.dense.rows.numpy()
        learned, moved = learned[learned < subject.vocabulary.size], np.zeros(subject.vocabulary.size)
        moved[learned] = subject.plan.dense.moved[: len(learned)].double().numpy()
        found += (("moved most by the distillation, in shares of its norm", learned, moved, -moved),)
    listed = []
    for phrase, ids, values, key in found:
        ids = ids[np.isfinite(values[ids])]
        first = ids[np.argsort(key[ids], kind="stable")[:_LISTED]].tolist()
        if first:
            listed.append(Outstanding(phrase, tuple((n, subject.name(n), float(values[n])) for n in first)))
    return tuple(listed)


def _histogram(new: npt.NDArray[np.float64], anchors: npt.NDArray[np.float64], low: float, high: float) -> Histogram:
    edges = np.linspace(low, high, _BINS + 1)

    def shares(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
        if not len(values):
            return ()
        return tuple((np.histogram(np.clip(values, low, high), edges)[0] / len(values)).tolist())

    return Histogram(tuple(edges.tolist()), shares(new), shares(anchors))
