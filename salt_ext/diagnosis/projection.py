"""A map of the new rows among the anchors: the plane in which the anchors' rows vary most.

Principal components of the anchors that are text, around their mean: P = (E - mean) V with V the two leading
eigenvectors of the anchors' covariance. New rows are projected onto the same plane. Units are the anchors' standard
deviation along each axis. A row counts as outside where its distance from the mean in *all* directions is larger than
that of 99 % of the anchors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext.diagnosis.subject import Subject

_POINTS = 1200
_LIMIT = 4.5  # deviations; what lies beyond is drawn at the edge
_OUTSIDE = 0.99
_BLOCK = 4096


@dataclass(frozen=True)
class Point:
    """A row on the map.

    Attributes:
        token_id: its id.
        token: what it writes.
        x: along the first axis, in the anchors' standard deviations.
        y: along the second.
        new: whether it is a new token's, not an anchor's.
    """

    token_id: int
    token: str
    x: float
    y: float
    new: bool


@dataclass(frozen=True)
class Map:
    """The plane.

    Attributes:
        points: a sample of anchors and new tokens, evenly spread over the ids.
        limit: coordinates are cut at plus and minus this.
        explained: share of the anchors' variance that lies in the plane.
        outside: share of the new rows that are farther from the anchors' mean than 99 % of the anchors.
        inside: share of the new rows that are nearer to it than 1 % of the anchors: rows like the mean.
    """

    points: tuple[Point, ...]
    limit: float
    explained: float
    outside: float
    inside: float


def draw_map(subject: Subject) -> Map | None:
    """Projects the rows; None where there are fewer than three anchors that are text, or no new row."""
    anchors, new = subject.copied[0][subject.text_anchors], subject.made
    if len(anchors) < 3 or not len(new):
        return None
    centre, covariance = _moments(subject.table, anchors)
    values, vectors = torch.linalg.eigh(covariance)
    plane = vectors[:, -2:].flip(1)
    spread = values[-2:].flip(0).clamp(min=torch.finfo(torch.float64).tiny).sqrt()
    # An eigenvector's sign is chance: the largest entry of each is made positive.
    plane = plane * plane.gather(0, plane.abs().argmax(0, keepdim=True)).sign()
    far = {name: _distances(subject.table, ids, centre) for name, ids in (("anchors", anchors), ("new", new))}
    points = []
    for ids, is_new in ((anchors, False), (new, True)):
        shown = ids[:: max(1, -(-len(ids) // _POINTS))]
        places = ((subject.table[shown].double() - centre) @ plane / spread).clamp(-_LIMIT, _LIMIT)
        points += [
            Point(number, subject.name(number), round(x, 3), round(y, 3), is_new)
            for number, (x, y) in zip(shown.tolist(), places.tolist(), strict=True)
        ]
    high, low = np.quantile(far["anchors"], [_OUTSIDE, 1 - _OUTSIDE])
    return Map(
        tuple(points),
        _LIMIT,
        explained=float(values[-2:].sum() / values.sum()) if float(values.sum()) > 0 else 0.0,
        outside=float((far["new"] > high).mean()),
        inside=float((far["new"] < low).mean()),
    )


def _moments(table: Tensor, ids: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Mean [h] and covariance [h, h] of some rows, float64, by blocks."""
    total = torch.zeros(table.shape[1], dtype=torch.float64)
    square = torch.zeros(table.shape[1], table.shape[1], dtype=torch.float64)
    for begin in range(0, len(ids), _BLOCK):
        block = table[ids[begin : begin + _BLOCK]].double()
        total += block.sum(dim=0)
        square += block.T @ block
    mean = total / len(ids)
    return mean, square / len(ids) - torch.outer(mean, mean)


def _distances(table: Tensor, ids: npt.NDArray[np.int64], centre: Tensor) -> npt.NDArray[np.float64]:
    blocks = [ids[begin : begin + _BLOCK] for begin in range(0, len(ids), _BLOCK)]
    found: npt.NDArray[np.float64] = torch.cat([(table[b].double() - centre).norm(dim=1) for b in blocks]).numpy()
    return found
