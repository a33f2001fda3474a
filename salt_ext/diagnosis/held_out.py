"""Anchors that were left out and made as if they were new: how near the method comes to rows that are known.

The figures are those of `salt_ext.comparison.heldout`, here token by token, so that they can be told apart by kind and
by frequency, and beside two controls for each token:

    matched-norm random: a random direction, as long as the row that the method made of this token
    mean: the mean of the source's rows

Where a method does no better than these it has found nothing out about the token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from salt_ext.comparison.heldout import cosines_and_ranks, make_left_out
from salt_ext.diagnosis.kinds import kind_of
from salt_ext.diagnosis.models import Transferred
from salt_ext.errors import InputError
from salt_ext.methods import MethodInputs

# Of fewer tokens a mean says nothing: they are counted together.
_FEWEST = 8
_OTHERS = "others"
_LISTED = 20


@dataclass(frozen=True)
class Group:
    """Left-out anchors of one sort.

    Attributes:
        label: which.
        tokens: how many.
        cosine: mean centred cosine of the method's rows with the true ones.
        error: its standard error.
        random: the same of the matched-norm random control.
        random_error: its standard error.
        mean: the same of the mean row.
        reciprocal_rank: mean over tokens of 1 / rank of the true row.
        norm_ratio: the mean norm of the made rows by that of the true ones.
    """

    label: str
    tokens: int
    cosine: float
    error: float
    random: float
    random_error: float
    mean: float
    reciprocal_rank: float
    norm_ratio: float


@dataclass(frozen=True)
class HeldOut:
    """What is known of left-out anchors.

    Attributes:
        asked: how many were left out.
        all: all that count: not those that the method made of the very source token that they equal.
        by_kind: by script and place in a word.
        by_frequency: by how often the text has them, or by their place in the vocabulary.
        frequency: what `by_frequency` goes by, a phrase.
        worst: (token, cosine) of those that came out worst, the worst first.
        best: the best first.
    """

    asked: int
    all: Group
    by_kind: tuple[Group, ...]
    by_frequency: tuple[Group, ...]
    frequency: str
    worst: tuple[tuple[str, float], ...]
    best: tuple[tuple[str, float], ...]


def held_out(transferred: Transferred, counts: npt.NDArray[np.int64] | None) -> HeldOut:
    """Leaves anchors out in three folds, and compares what the method makes of them with their rows.

    Args:
        transferred: what the model was made from.
        counts: int64 [ids], how often the text in the new language has each token; None without a text.

    Raises:
        InputError: there are too few anchors, or the method made all of them of themselves.
    """
    material = transferred.tables.material(transferred.anchors, seed=transferred.seed)
    found = make_left_out(transferred.method, material)
    if not len(found.targets):
        raise InputError("the method makes every anchor of the very token that it equals: nothing can be left out")
    scores = _Scores(material, found.made, found.sources)
    kinds = np.array([kind_of(material.target, number) for number in found.targets.tolist()])
    classes, names, phrase = frequency_classes(found.targets, counts, material.target.size)
    order = np.argsort(scores.cosines, kind="stable")

    def named(places: npt.NDArray[np.int64]) -> tuple[tuple[str, float], ...]:
        targets, cosines = found.targets[places].tolist(), scores.cosines[places].tolist()
        return tuple((material.target.readable(t) or "", c) for t, c in zip(targets, cosines, strict=True))

    return HeldOut(
        asked=found.asked,
        all=scores.group("all", np.ones(len(kinds), dtype=bool)),
        by_kind=_by_kind(kinds, scores.group),
        by_frequency=tuple(
            scores.group(name, chosen) for number, name in enumerate(names) if (chosen := classes == number).any()
        ),
        frequency=phrase,
        worst=named(order[:_LISTED]),
        best=named(order[::-1][:_LISTED]),
    )


def frequency_classes(
    targets: npt.NDArray[np.int64], counts: npt.NDArray[np.int64] | None, size: int
) -> tuple[npt.NDArray[np.int64], tuple[str, ...], str]:
    """The class of frequency of each token, the classes' names, and what they go by.

    With a text: how often it has the token. Without: thirds of the vocabulary by id, which most trainers give by
    frequency.
    """
    if counts is None:
        thirds = ("first third of the ids", "second third", "last third")
        return np.minimum(3 * targets // max(1, size), 2), thirds, "place in the vocabulary; --text would count"
    names = ("not in the text", "1 to 9 times", "10 to 99 times", "100 times and more")
    return np.searchsorted([1, 10, 100], counts[targets], side="right"), names, "how often the text has them"


class _Scores:
    """Cosines, ranks and norms of made rows, and of the two controls in their place."""

    def __init__(self, material: MethodInputs, made: npt.NDArray[np.float64], sources: npt.NDArray[np.int64]) -> None:
        table, candidates = material.source_table, material.anchors.source_ids[material.text_anchors]
        self._lengths = np.linalg.norm(made, axis=1)
        drawn = np.random.default_rng(material.seed).normal(size=made.shape)
        drawn *= (self._lengths / np.linalg.norm(drawn, axis=1))[:, None]
        whole = table[: material.source.size]
        middle = (whole.double().sum(dim=0) / len(whole)).numpy()
        self.cosines, self._ranks = cosines_and_ranks(made, sources, table, candidates)
        self._random, _ = cosines_and_ranks(drawn, sources, table, candidates)
        self._mean, _ = cosines_and_ranks(np.broadcast_to(middle, made.shape), sources, table, candidates)
        self._true = np.linalg.norm(table[sources].double().numpy(), axis=1)

    def group(self, label: str, chosen: npt.NDArray[np.bool_]) -> Group:
        return Group(
            label=label,
            tokens=int(chosen.sum()),
            cosine=float(self.cosines[chosen].mean()),
            error=_error(self.cosines[chosen]),
            random=float(self._random[chosen].mean()),
            random_error=_error(self._random[chosen]),
            mean=float(self._mean[chosen].mean()),
            reciprocal_rank=float((1 / self._ranks[chosen]).mean()),
            norm_ratio=float(self._lengths[chosen].mean() / self._true[chosen].mean()),
        )


def _error(values: npt.NDArray[np.float64]) -> float:
    """The standard error of a mean; 0 of a single value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _by_kind(kinds: npt.NDArray[np.str_], group: Callable[[str, npt.NDArray[np.bool_]], Group]) -> tuple[Group, ...]:
    """The largest first; those of few tokens together, last."""
    names, counts = np.unique(kinds, return_counts=True)
    merged = np.where(np.isin(kinds, names[counts >= _FEWEST]), kinds, _OTHERS)
    found = [group(label, merged == label) for label in np.unique(merged).tolist()]
    return tuple(sorted(found, key=lambda each: (each.label == _OTHERS, -each.tokens)))
