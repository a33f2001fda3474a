"""One affine map from the donor's rows to the source's, fitted on all anchors by ridge regression.

The map of any source table B is x -> (x - a) M + b with a, b the anchors' mean rows, A their centred donor rows and
M = (A'A + lambda I)^-1 A' B (Hoerl & Kennard 1970). It is linear in B, so what is kept is the matrix that makes the map
of a table once it is known: the same fit serves input table and head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from salt_ext.errors import InputError


@dataclass(frozen=True, eq=False)
class AffineMap:
    """A fitted map: rows x of the donor go to domain(x) @ right @ B, B the anchors' rows of a source table.

    Attributes:
        centre: float64 [h], what is taken off a donor row: the anchors' mean, zeros without an intercept.
        right: float64 [h + 1, n] with an intercept, else [h, n].
    """

    centre: Tensor
    right: Tensor

    def domain(self, rows: Tensor) -> Tensor:
        """What the map is applied to, float64 [m, h + 1] or [m, h].

        Args:
            rows: floating [m, h], donor rows.
        """
        centred = rows.to(self.centre) - self.centre
        if self.right.shape[0] == len(self.centre):
            return centred
        return torch.cat([centred, centred.new_ones(len(centred), 1)], dim=1)

    def left_out(self, anchors: Tensor, rows: Tensor) -> Tensor:
        """What the map makes of each anchor when it is fitted on all others, float64 [n, width].

        With the fit's hat matrix H = domain(A) @ right, the map without anchor i misses it by (b_i - (H B)_i) / (1 -
        H_ii): the usual identity of linear smoothers, exact for ridge regression with a fixed lambda. An anchor that
        alone decides its own fit (H_ii = 1) gets nan.

        Args:
            anchors: floating [n, h], the donor rows that the map was fitted on.
            rows: floating [n, width], their source rows.
        """
        domain, rows = self.domain(anchors), rows.double()
        leverage = (domain * self.right.T).sum(dim=1, keepdim=True)
        free = (1 - leverage).where(leverage < 1 - 1e-9, math.nan)
        return rows - (rows - domain @ (self.right @ rows)) / free


def fit(anchors: Tensor, *, ridge: float, intercept: bool = True) -> AffineMap:
    """Fits the map in float64, by the smaller Gram matrix's eigenvectors, on the device of the anchors.

    Args:
        anchors: floating [n, h], donor rows of the anchors, n >= 1.
        ridge: at least 0; lambda is this times the mean of the diagonal of A'A. Singular values of A at or below
            max(n, h) times float32's eps times the largest count as zero, so that 0 is the least-squares map of minimum
            norm.
        intercept: whether the map is affine, the intercept not damped; without it a and b are zero.

    Raises:
        InputError: there is no anchor.
    """
    rows = anchors.double()
    count, width = rows.shape
    if not count:
        raise InputError("a map from the donor's rows to the source's needs at least one anchor")
    centre = rows.mean(dim=0) if intercept else rows.new_zeros(width)
    centred = rows - centre
    tall = count > width
    spectrum, vectors = torch.linalg.eigh(centred.T @ centred if tall else centred @ centred.T)
    shift = ridge * float(spectrum.sum()) / width
    kept = spectrum > (max(count, width) * torch.finfo(torch.float32).eps) ** 2 * float(spectrum[-1].clamp_min(0))
    inverse = (vectors * torch.where(kept, 1 / (spectrum + shift).where(kept, 1.0), 0.0)) @ vectors.T
    right = inverse @ centred.T if tall else centred.T @ inverse
    if intercept:
        # The anchors' rows are centred, so that their tables need not be; the mean row comes on top.
        right = torch.cat([right, right.new_full((1, count), 1 / count)])
    return AffineMap(centre, right)
