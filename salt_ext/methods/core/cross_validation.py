"""Options of SALT chosen by anchors that are held out: no training, no text, only rows whose truth is known.

The held-out anchors' rows are made as those of new tokens, and compared with what the source has in their place by the
cosine around the mean of its anchors. The search is coordinate-wise: one option after the other takes the best value of
its grid while the rest stay.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext.errors import InputError
from salt_ext.methods.core.inputs import MethodInputs

if TYPE_CHECKING:
    from salt_ext.methods.salt.prior import Prior
    from salt_ext.methods.salt.salt import Salt

FOLDS = 3
_HELD_OUT = 300  # of each fold at most, and a fifth of the text anchors at most
_MINIMUM_ANCHORS = 20
# Powers of about 3 or 4, as far as the score was seen to move; the map comes first, since the local fit corrects it.
GRIDS: dict[str, tuple[int | float, ...]] = {
    "global_ridge": (0.1, 0.3, 1.0, 3.0, 10.0),
    "ridge": (0.0, 0.1, 0.3, 1.0, 3.0, 10.0),
    "temperature": (0.3, 1.0, 3.0),
    "minimum_neighbours": (0, 8, 32, 128),
}
# A value has to be better than the present one by this: smaller differences are noise of the folds.
_MARGIN = 1e-4


def cross_validate(method: Salt, material: MethodInputs, prior: Prior | None = None) -> tuple[Salt, dict[str, Any]]:
    """The method with the options that serve the held-out anchors best, and an account of the search.

    Args:
        method: where the search starts.
        material: of the method; its seed draws the folds.
        prior: of the method.

    Raises:
        InputError: too few text anchors, or a table has too few rows.
    """
    begun = time.perf_counter()
    folds = held_out_anchors(material)
    table = material.source_table[: material.source.size]
    scores: dict[str, dict[str, float]] = {}
    best = start = _score(method, folds, table, prior)
    for option, grid in GRIDS.items():
        present = getattr(method, option)
        if present is None:
            continue
        scores[option] = {str(present): round(best, 4)}
        for value in grid:
            if value == present:
                continue
            candidate = replace(method, **{option: value})  # type: ignore[arg-type]
            score = _score(candidate, folds, table, prior)
            scores[option][str(value)] = round(score, 4)
            if score > best + _MARGIN:
                best, method = score, candidate
    return method, {
        "chosen": {option: getattr(method, option) for option in scores},
        "held_out_cosine": round(best, 4),
        "held_out_cosine_of_the_given_options": round(start, 4),
        "scores": scores,
        "folds": FOLDS,
        "held_out_anchors_per_fold": len(folds[0][1]),
        "seconds": round(time.perf_counter() - begun, 2),
    }


Fold = tuple[MethodInputs, npt.NDArray[np.int64], npt.NDArray[np.int64]]


def held_out_anchors(material: MethodInputs) -> list[Fold]:
    """For each fold the material without some text anchors, and their target ids and source ids, ascending.

    Raises:
        InputError: too few text anchors.
    """
    text = np.flatnonzero(material.text_anchors)
    if len(text) < _MINIMUM_ANCHORS:
        raise InputError(
            f"cross_validate has {len(text)} text anchors to learn from, expected at least {_MINIMUM_ANCHORS}"
        )
    generator = np.random.default_rng(material.seed)
    folds = []
    for _ in range(FOLDS):
        out = np.sort(generator.choice(text, size=min(_HELD_OUT, len(text) // 5), replace=False))
        kept = np.ones(len(material.anchors), dtype=bool)
        kept[out] = False
        less = replace(material.with_anchors(kept), progress=None)
        folds.append((less, material.anchors.target_ids[out], material.anchors.source_ids[out]))
    return folds


def centred_cosines(made: Tensor, true: Tensor, centre: Tensor) -> Tensor:
    """Cosines of rows around a centre, float64 [n]; 0 where one of the two lies on it.

    Args:
        made: floating [n, width].
        true: floating [n, width].
        centre: floating [width].
    """
    a, b = made.double() - centre.double(), true.double() - centre.double()
    lengths = a.norm(dim=1) * b.norm(dim=1)
    cosines: Tensor = (a * b).sum(dim=1) / lengths.where(lengths > 0, 1.0)
    return cosines


def _score(method: Salt, folds: list[Fold], table: Tensor, prior: Prior | None) -> float:
    """Mean centred cosine over all folds; a held-out anchor that the method does not make counts as 0."""
    scores = []
    for material, targets, sources in folds:
        centre = table[torch.from_numpy(material.anchors.source_ids)].double().mean(dim=0)
        combined = method.rows_of(material, prior, targets)
        places = torch.from_numpy(np.searchsorted(targets, combined.target_ids))
        true = table[torch.from_numpy(sources)]
        cosines = centred_cosines(combined.sums(table), true[places], centre)
        scores.append(float(cosines.sum()) / len(targets))
    return sum(scores) / len(scores)
