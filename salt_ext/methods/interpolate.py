"""Tokensurgeon's common interpolation: the nearest anchors in the donor's space rebuild the donor's row.

Known defect, not copied: tokensurgeon divides the cosines of the nearest anchors by their sum as it is, so that anchors
which point the other way get negative weights, and a sum near zero weights without a bound. Here such an anchor weighs
nothing. As with `omp`, the swapped tables of its prefix and byte match have no counterpart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.checks import check_choice, check_count, check_enough_keys
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.methods.core.nearest import rows_of_slots
from salt_ext.methods.core.neighbours import SparseRows, combine_blocks, find_neighbours, with_residual

Metric = Literal["euclidean", "cosine"]
Weights = Literal["least-squares", "barycentric", "distance"]
# Tokensurgeon's floor of a distance.
_SMALLEST_DISTANCE = 1e-6
_GATHER_BYTES = 64 << 20


@dataclass(frozen=True)
class Interpolate:
    """The k nearest anchors, with the weights that bring their donor rows closest to the token's.

    Attributes:
        k: anchors that a row is made of.
        metric: what is near: "euclidean", tokensurgeon's default, or "cosine".
        weights: "least-squares"; "barycentric", the same with weights that add up to 1; "distance", one over the
            distance, or the cosine where that is the metric and positive, divided by their sum: tokensurgeon's default.

    Raises:
        InputError: k is no whole number of at least 1, or a word is none of the choices.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="interpolate",
        summary="least-squares weights of its 64 nearest anchors in the donor's space",
        paper="tokensurgeon, common_interpolation",
        cost="new x anchors x h, k^2 h for each fit",
        needs=("donor table",),
    )

    k: int = 64
    metric: Metric = "euclidean"
    weights: Weights = "least-squares"

    def __post_init__(self) -> None:
        check_count("k", self.k)
        check_choice("metric", self.metric, get_args(Metric))
        check_choice("weights", self.weights, get_args(Weights))

    def combine(self, material: MethodInputs) -> Combinations:
        """New tokens with a donor row that is not zero are made, the others left.

        Raises:
            InputError: k is above the number of anchors.
        """
        donor = material.donor
        neighbours = find_neighbours(material, donor, keys=donor, method="interpolation", row="a donor row")
        check_enough_keys("k", self.k, neighbours)
        key_rows = torch.from_numpy(neighbours.key_targets)

        def prepare(device: torch.device) -> Callable[[Tensor], SparseRows]:
            anchors = donor[key_rows].float().to(device)
            search = _Euclidean(anchors) if self.metric == "euclidean" else _Cosine(anchors)

            def interpolate(block: Tensor) -> SparseRows:
                queries = donor[block].float().to(device)
                rows = self._weigh(queries, anchors, *search.nearest(queries, self.k))
                return with_residual(rows, queries, anchors)

            return interpolate

        return combine_blocks(material, neighbours, prepare, row_bytes=2 * donor.shape[1] * torch.float32.itemsize)

    def _weigh(self, queries: Tensor, anchors: Tensor, cosines: Tensor, nearest: Tensor) -> SparseRows:
        if self.weights != "distance":
            crow, col, _, _ = rows_of_slots(nearest, torch.zeros_like(cosines))
            values = ops.lstsq_weights(crow, col, queries, anchors, intercept=self.weights == "barycentric")
            return SparseRows(crow, col, values)
        if self.metric == "cosine":
            shares = cosines.double().clamp_min(0)
        else:
            shares = 1 / _distances(queries, anchors, nearest).clamp_min(_SMALLEST_DISTANCE)
        total = shares.sum(dim=1, keepdim=True)
        return rows_of_slots(nearest.where(shares > 0, -1), shares / total.where(total > 0, 1.0))


class _Cosine:
    def __init__(self, anchors: Tensor) -> None:
        self._anchors = anchors

    def nearest(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Cosines [n, k] and places int64 [n, k], the nearest first."""
        return ops.cosine_topk(queries, self._anchors, k)


class _Euclidean:
    """The nearest by distance, found as the nearest by cosine.

    |q - a|^2 falls as q.a - |a|^2 / 2 rises, which is the product of (q, m, 0) and (a, -|a|^2 / 2m, r). With r such
    that all of the latter have one norm, their order by cosine is the order by distance. Everything is taken around
    the anchors' mean, which changes no distance and keeps the numbers small; m is their largest norm.
    """

    def __init__(self, anchors: Tensor) -> None:
        self._mean = anchors.double().mean(dim=0)
        keys = anchors - self._mean
        squares = keys.square().sum(dim=1, keepdim=True)
        self._scale = float(squares.max().sqrt().clamp_min(torch.finfo(torch.float32).tiny))
        lowered = -squares / (2 * self._scale)
        norms = squares + lowered.square()
        self._keys = torch.cat([keys, lowered, (norms.max() - norms).sqrt()], dim=1).float()

    def nearest(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Cosines of the enlarged vectors [n, k] and places int64 [n, k], the nearest first."""
        around = (queries - self._mean).float()
        ones = torch.ones_like(around[:, :1])
        return ops.cosine_topk(torch.cat([around, self._scale * ones, 0 * ones], dim=1), self._keys, k)


def _distances(queries: Tensor, anchors: Tensor, nearest: Tensor) -> Tensor:
    """float64 [n, k]: a difference of rounded squares would say little of anchors that are close."""
    size = max(1, _GATHER_BYTES // (8 * nearest.shape[1] * queries.shape[1]))
    parts = zip(queries.split(size), nearest.split(size), strict=True)
    return torch.cat([(anchors[places].double() - rows[:, None].double()).norm(dim=2) for rows, places in parts])
