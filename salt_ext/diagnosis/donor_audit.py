"""An audit of the donor: tokens that look harmless there and get an outsized row here.

Who makes a donor can choose a token's row such that nothing shows in the donor, and that the coefficients which rebuild
it from the shared tokens make a row here that outshouts all others (arXiv 2601.00065, "breaker tokens": the same
coefficients reach different places in two models). The signs of it are looked for in both tables. With the anchors
that are text as the measure of what is usual, around their mean m, two figures of a row e of either table:

    length    ln ||e - m||
    drift     <e, m> / ||m||, its part along what all rows share, which a head gives to every next token

each as a robust z: its distance from the anchors' median in 1.4826 median absolute deviations (of the length only what
is longer counts). A row is *outsized here* where one z is above 6, and that figure is twice as far from the new rows'
median as that of 99 % of them, which were made the same way: of honest rows whose tail falls off exponentially, one in
ten thousand is. It is *unremarkable in the donor* where no z is above 3 there. A token that is both is listed. A
planted row of usual length and drift, which points somewhere in particular, is not found so; with
a text, the list of tokens that the model says too often may show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext.diagnosis.subject import Subject
from salt_ext.methods.core.neighbours import nonzero_rows

OUTSIZED, UNREMARKABLE = 6.0, 3.0
_TAIL, _TIMES = 0.99, 2.0
_DEVIATION_PER_MAD = 1.4826
_BLOCK = 4096
_LISTED = 40
_FEWEST = 8


@dataclass(frozen=True)
class Suspect:
    """A token that is unremarkable in the donor and outsized here.

    Attributes:
        token_id: its id.
        token: what it writes.
        here: the larger z of its row here, by the anchors' measure.
        donor: the larger z of its row in the donor.
        by: "length" or "drift", which one is the larger here.
        l1: sum of the magnitudes of its weights.
    """

    token_id: int
    token: str
    here: float
    donor: float
    by: str
    l1: float


@dataclass(frozen=True)
class Audit:
    """What the audit found.

    Attributes:
        looked_at: new tokens with a row in the donor.
        suspects: the most outsized first, up to 40.
        count: how many there are.
        outsized: rows that are outsized here by the anchors' measure alone, whatever they are in the donor.
    """

    looked_at: int
    suspects: tuple[Suspect, ...]
    count: int
    outsized: int


def audit_donor(subject: Subject, donor: Tensor, l1: npt.NDArray[np.float64]) -> Audit | None:
    """Compares each new token's row here with its row in the donor.

    Args:
        subject: the moved model.
        donor: floating [ids or more, h_t], the donor's row of each token; zeros mean none.
        l1: float64 [ids], sums of the magnitudes of weights.

    Returns:
        None where fewer than eight anchors have a row in the donor, and nothing is known of what is usual.
    """
    known = nonzero_rows(donor, subject.vocabulary.size)
    anchors = subject.copied[0][subject.text_anchors]
    anchors, new = anchors[known[anchors]], subject.made[known[subject.made]]
    if len(anchors) < _FEWEST or not len(new):
        return None
    here, there = _figures(subject.table, anchors, new), _figures(donor, anchors, new)
    usual, in_donor = _deviations(here), _deviations(there)
    outsized = usual > OUTSIZED
    striking = (outsized & _beyond_the_tail(here.new)).any(axis=0)
    found = np.flatnonzero(striking & (in_donor.max(axis=0) < UNREMARKABLE))
    found = found[np.argsort(-usual.max(axis=0)[found], kind="stable")]
    suspects = tuple(
        Suspect(
            token_id=int(new[place]),
            token=subject.name(int(new[place])),
            here=float(usual[:, place].max()),
            donor=float(in_donor[:, place].max()),
            by=("length", "drift")[int(usual[:, place].argmax())],
            l1=float(l1[new[place]]),
        )
        for place in found[:_LISTED].tolist()
    )
    return Audit(len(new), suspects, len(found), int(outsized.any(axis=0).sum()))


@dataclass(frozen=True)
class _Figures:
    """Length and drift of rows, float64 [2, n]."""

    anchors: npt.NDArray[np.float64]
    new: npt.NDArray[np.float64]


def _figures(table: Tensor, anchors: npt.NDArray[np.int64], new: npt.NDArray[np.int64]) -> _Figures:
    mean = sum(block.double().sum(dim=0) for block in _blocks(table, anchors)) / len(anchors)
    assert isinstance(mean, Tensor)
    common = mean / (mean.norm() or 1.0)

    def of(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        lengths, drifts = [], []
        for block in _blocks(table, ids):
            rows = block.double()
            lengths.append((rows - mean).norm(dim=1).clamp(min=torch.finfo(torch.float32).tiny).log())
            drifts.append(rows @ common)
        found: npt.NDArray[np.float64] = torch.stack([torch.cat(lengths), torch.cat(drifts)]).numpy()
        return found

    return _Figures(of(anchors), of(new))


def _deviations(figures: _Figures) -> npt.NDArray[np.float64]:
    """Robust z of the new rows by the anchors' measure, [2, n]: of length upwards, of drift either way."""
    middle = np.median(figures.anchors, axis=1, keepdims=True)
    spread = _DEVIATION_PER_MAD * np.median(np.abs(figures.anchors - middle), axis=1, keepdims=True)
    # Where half of the rows agree to the last digit, any other is infinitely far.
    z = (figures.new - middle) / np.where(spread > 0, spread, np.finfo(np.float64).tiny)
    return np.stack([z[0], np.abs(z[1])])


def _beyond_the_tail(figures: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which of the new rows are twice as far from their median as 99 % of them are, [2, n]."""
    apart = figures - np.median(figures, axis=1, keepdims=True)
    apart[1] = np.abs(apart[1])
    found: npt.NDArray[np.bool_] = apart > _TIMES * np.quantile(apart, _TAIL, axis=1, keepdims=True)
    return found


def _blocks(table: Tensor, ids: npt.NDArray[np.int64]) -> list[Tensor]:
    return [table[ids[begin : begin + _BLOCK]] for begin in range(0, len(ids), _BLOCK)]
