"""How well a method finds rows that are known: anchors are left out, made as if they were new, and compared.

In each of three folds up to 300 text anchors are drawn and left out; the method makes its whole plan without them. The
folds share no anchor. With o the mean of the source rows of all text anchors, s(t) the source row of a left-out token
and e(t) the row that the method made:

    cosine = mean over t of cos(e(t) - o, s(t) - o)
    reciprocal rank = mean over t of 1 / rank of s(t) among the source rows of all text anchors, by the same cosine
    norm ratio = mean over t of ||e(t)|| / mean over t of ||s(t)||

Rows of language models share a large common part: without centring, all cosines are high. A rank counts rows that are
nearer, ties by half; the reciprocal is taken since only the first places matter: 1 is perfect, and of n rows in random
order the mean is about ln(n) / n. Where a direction vanishes, its cosine is 0. All arithmetic is float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from salt_ext.comparison.method_spec import MethodSpec
from salt_ext.errors import InputError
from salt_ext.methods import MethodInputs
from salt_ext.plan import TransferPlan
from salt_ext.vocab import Anchors

FOLDS = 3
PER_FOLD = 300
# Of each fold at least, or the figures say nothing.
_LEAST = 2
_BLOCK = 4096
_FEWEST_OF_OTHERS = 0.5


@dataclass(frozen=True)
class HeldOutScore:
    """How near the made rows are; the formulas are the module's.

    Attributes:
        cosine: -1 to 1.
        reciprocal_rank: above 0, at most 1.
        norm_ratio: at least 0.
    """

    cosine: float
    reciprocal_rank: float
    norm_ratio: float


class LeftOut(NamedTuple):
    """Anchors that were left out, and what a method made of them.

    Attributes:
        targets: int64 [n], their target ids.
        sources: int64 [n], their source ids.
        made: float64 [n, h], the rows that the method made.
        asked: how many were left out; the others the method made of the very source token that they equal.
    """

    targets: npt.NDArray[np.int64]
    sources: npt.NDArray[np.int64]
    made: npt.NDArray[np.float64]
    asked: int


def choose_folds(anchors: Anchors, text: npt.NDArray[np.bool_], *, seed: int) -> list[npt.NDArray[np.int64]]:
    """The source ids that each fold leaves out.

    Args:
        anchors: what both vocabularies share.
        text: bool [anchors], those that may be left out.
        seed: of the drawing.

    Returns:
        For each fold int64 [up to 300], ascending.

    Raises:
        InputError: there are fewer than two for each fold.
    """
    usable = np.unique(anchors.source_ids[text])
    size = min(PER_FOLD, len(usable) // FOLDS)
    if size < _LEAST:
        raise InputError(
            f"source and donor share {len(usable)} text tokens, expected at least {FOLDS * _LEAST}: "
            f"{FOLDS} folds of them are left out to compare methods"
        )
    drawn = np.random.default_rng(seed).permutation(usable)
    return [np.sort(drawn[fold * size : (fold + 1) * size]) for fold in range(FOLDS)]


def held_out_score(chosen: MethodSpec, material: MethodInputs) -> HeldOutScore | None:
    """Leaves anchors out, fold by fold, and compares what the method makes of them; folds by the material's seed.

    An anchor that a method makes of the very source token that it equals, as sub-words do, is not counted; None where
    fewer than half are left, since the figures would mean nothing.

    Raises:
        InputError: too few anchors, or the method cannot work without those left out.
    """
    found = make_left_out(chosen, material)
    if len(found.targets) < _FEWEST_OF_OTHERS * found.asked:
        return None
    candidates = material.anchors.source_ids[material.text_anchors]
    return score_rows(found.made, found.sources, material.source_table, candidates)


def make_left_out(chosen: MethodSpec, material: MethodInputs) -> LeftOut:
    """Leaves anchors out, fold by fold, and lets a method make them; those that it makes of themselves do not count.

    Raises:
        InputError: too few anchors, or the method cannot work without those left out.
    """
    anchors, text = material.anchors, material.text_anchors
    made, wanted, own, asked = [], [], [], 0
    for fold in choose_folds(anchors, text, seed=material.seed):
        # A source token may serve several target tokens: each of them would give the others away.
        out = text & np.isin(anchors.source_ids, fold)
        plan, _ = chosen.plan(material.with_anchors(~out), rows=material.target.size)
        targets, sources = anchors.target_ids[out], anchors.source_ids[out]
        asked += len(targets)
        found = ~_of_themselves(plan, targets, sources)
        made.append(plan.apply(material.source_table)[targets[found]].double().numpy())
        wanted.append(sources[found])
        own.append(targets[found])
    return LeftOut(np.concatenate(own), np.concatenate(wanted), np.concatenate(made), asked)


def _of_themselves(
    plan: TransferPlan, targets: npt.NDArray[np.int64], sources: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Which of the target rows have a weight of the source row that is to be found: bool [n]."""
    crow, col = plan.crow_indices.numpy(), plan.col_indices.numpy()
    pairs = zip(targets.tolist(), sources.tolist(), strict=True)
    return np.array([source in col[crow[target] : crow[target + 1]] for target, source in pairs], dtype=bool)


def score_rows(
    made: npt.NDArray[np.float64],
    wanted: npt.NDArray[np.int64],
    table: Tensor,
    candidates: npt.NDArray[np.int64],
) -> HeldOutScore:
    """Compares made rows with the true ones; see `cosines_and_ranks`."""
    cosines, ranks = cosines_and_ranks(made, wanted, table, candidates)
    length = np.linalg.norm(table[wanted].double().numpy(), axis=1).mean()
    return HeldOutScore(
        cosine=float(cosines.mean()),
        reciprocal_rank=float((1 / ranks).mean()),
        norm_ratio=float(np.linalg.norm(made, axis=1).mean() / length),
    )


def cosines_and_ranks(
    made: npt.NDArray[np.float64],
    wanted: npt.NDArray[np.int64],
    table: Tensor,
    candidates: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Each made row's centred cosine with the true one, and the true one's rank by it.

    Args:
        made: float64 [n, h].
        wanted: int64 [n], the source id of each one's true row, among `candidates`.
        table: floating [at least the largest id + 1, h], the source's.
        candidates: int64 [m], the source ids that ranks are taken among; one that comes twice counts once.

    Returns:
        float64 [n] each.
    """
    candidates = np.unique(candidates)
    blocks = [candidates[begin : begin + _BLOCK] for begin in range(0, len(candidates), _BLOCK)]

    def rows(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return table[ids].double().numpy()

    # The mean over all anchors' rows, in blocks: as float64 a large table would take gigabytes.
    centre = sum(rows(block).sum(axis=0) for block in blocks) / len(candidates)
    queries = _directions(made - centre)
    cosines = np.concatenate([queries @ _directions(rows(block) - centre).T for block in blocks], axis=1)
    own = cosines[np.arange(len(made)), np.searchsorted(candidates, wanted)][:, None]
    ranks = 1 + (cosines > own).sum(axis=1) + ((cosines == own).sum(axis=1) - 1) / 2
    return own[:, 0], ranks


def _directions(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Rows of length 1; zero rows stay."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)
