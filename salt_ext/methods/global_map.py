"""One linear map from the donor's space to the source's, fitted on all anchors: what local maps have to beat.

With the anchors' donor rows A and source rows B, the least-squares map is M = (A'A)^+ A'B, and a token's row q M. The
map of every table has the same left factor, so a plan keeps (A'A)^+ A' and the donor rows q, and no table of the source
is needed to fit it (Mikolov et al. 2013 fit such maps between languages).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from salt_ext.methods.assembly import Combinations
from salt_ext.methods.checks import check_not_negative
from salt_ext.methods.material import Material, MethodInfo
from salt_ext.methods.neighbours import Neighbours, find_neighbours
from salt_ext.plan import LowRank, Provenance

_BLOCK = 2048


@dataclass(frozen=True)
class GlobalMap:
    """e = q M, or b + (q - a) M with the anchors' means a and b where there is an intercept.

    Attributes:
        ridge: this times the mean of the diagonal of A'A is added to it, at least 0.
        intercept: whether the map is affine; the intercept is not damped.

    Raises:
        InputError: the ridge is out of range.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="global",
        summary="one least-squares map of all anchors' donor rows to their source rows",
        paper="the baseline of local maps",
        cost="anchors x h^2, h^3 steps",
        needs=("donor table",),
    )

    ridge: float = 0.0
    intercept: bool = False

    def __post_init__(self) -> None:
        check_not_negative("ridge", self.ridge)

    def combine(self, material: Material) -> Combinations:
        """New tokens with a donor row that is not zero are made, the others left.

        Raises:
            InputError: fewer than two anchors have a donor row.
        """
        donor = material.donor
        neighbours = find_neighbours(material, donor, keys=donor, method="the global map", row="a donor row")
        if not len(neighbours.new):
            return Combinations.none(rest=Provenance.SAMPLED)

        def fit(device: torch.device) -> LowRank:
            return fit_map(donor, neighbours, ridge=self.ridge, intercept=self.intercept, device=device)

        keys, width = len(neighbours.key_targets), donor.shape[1]
        nothing = np.empty(0, dtype=np.int64)
        return Combinations(
            target_ids=neighbours.new,
            lengths=np.zeros(len(neighbours.new), dtype=np.int64),
            source_ids=nothing,
            values=nothing.astype(np.float32),
            low_rank=material.placement.run("regression", fit, needed=8 * width * (4 * width + 3 * keys)),
        )


def fit_map(donor: Tensor, neighbours: Neighbours, *, ridge: float, intercept: bool, device: torch.device) -> LowRank:
    """The map as a part of a plan: minimum-norm least squares in float64, by the smaller Gram matrix's eigenvectors.

    Singular values of A at or below max(anchors, h) times float32's eps times the largest count as zero.

    Args:
        donor: floating [target ids, h], the donor's rows.
        neighbours: the anchors, at least one, and the tokens that are mapped, ascending.
        ridge: see `GlobalMap`.
        intercept: see `GlobalMap`.
        device: where it is fitted; the result lies on the CPU.
    """
    anchors = donor[torch.from_numpy(neighbours.key_targets)].to(device, torch.float64)
    mean = anchors.mean(dim=0) if intercept else anchors.new_zeros(anchors.shape[1])
    anchors -= mean
    gram = anchors.T @ anchors if len(anchors) > anchors.shape[1] else anchors @ anchors.T
    damping = ridge * float(gram.trace()) / anchors.shape[1]
    values, vectors = torch.linalg.eigh(gram)
    smallest = (max(anchors.shape) * torch.finfo(torch.float32).eps) ** 2 * values[-1]
    inverse = torch.where(values > smallest, 1 / (values + damping), 0.0)
    pseudo = (vectors * inverse) @ vectors.T
    right = pseudo @ anchors.T if len(anchors) > anchors.shape[1] else anchors.T @ pseudo
    rows = torch.from_numpy(neighbours.new)
    blocks = (donor[block].to(device, torch.float64) - mean for block in rows.split(_BLOCK))
    left = torch.cat([block.float().cpu() for block in blocks])
    if intercept:
        # The anchors' rows are centred, so that their tables need not be; the mean row comes on top.
        right = torch.cat([right, right.new_full((1, len(anchors)), 1 / len(anchors))])
        left = torch.cat([left, left.new_ones(len(left), 1)], dim=1)
    return LowRank(rows, left, right.float().cpu().contiguous(), torch.from_numpy(neighbours.key_sources))
