"""One affine map from the donor's rows to the source's, fitted on all anchors by ridge regression.

The map of any source table B is x -> (x - a) M + b with a, b the anchors' mean rows, A their centred donor rows and
M = (A'A + lambda I)^-1 A' B (Hoerl & Kennard 1970). It is linear in B, so what is kept is the matrix that makes the map
of a table once it is known: the same fit serves input table and head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from salt_ext.errors import InputError

# A ridge of at least this times the dimensions bounds the condition of A'A + lambda I by 1e8, since no eigenvalue of
# A'A exceeds its trace: Cholesky then loses no more digits than eigenvectors would.
_RIDGE_PER_DIMENSION = 1e-8
_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class AffineMap:
    """A fitted map: rows x of the donor go to domain(x) @ right @ B, B the anchors' rows of a source table.

    Attributes:
        centre: float64 [h], what is taken off a donor row: the anchors' mean, zeros without an intercept.
        right: float64 [h + 1, n] with an intercept, else [h, n]; float32 where it is `rounded`.
    """

    centre: Tensor
    right: Tensor

    def rounded(self) -> AffineMap:
        """The map as a plan keeps it: on the CPU, with `right` in float32."""
        return AffineMap(self.centre.cpu(), self.right.float().cpu())

    def domain(self, rows: Tensor) -> Tensor:
        """What the map is applied to, float64 [m, h + 1] or [m, h], on the device of the rows.

        Args:
            rows: floating [m, h], donor rows.
        """
        centred = rows.double() - self.centre.to(rows.device)
        if self.right.shape[0] == len(self.centre):
            return centred
        return torch.cat([centred, centred.new_ones(len(centred), 1)], dim=1)

    def domains(self, table: Tensor, ids: Tensor, device: torch.device, *, kept: torch.device) -> Tensor:
        """`domain` of some rows of a table, worked out in blocks: float32 [m, h + 1] or [m, h].

        Args:
            table: floating [more than the largest id, h], donor rows.
            ids: int64 [m].
            device: where it is worked out.
            kept: where it lies.
        """
        made = table.new_empty(len(ids), self.right.shape[0], dtype=torch.float32, device=kept)
        for begin in range(0, len(ids), _BLOCK):
            made[begin : begin + _BLOCK] = self.domain(table[ids[begin : begin + _BLOCK]].to(device))
        return made


def fit(anchors: Tensor, *, ridge: float, intercept: bool = True) -> AffineMap:
    """Fits the map in float64 through the smaller Gram matrix, on the device of the anchors.

    Args:
        anchors: floating [n, h], donor rows of the anchors, n >= 1.
        ridge: at least 0; lambda is this times the mean of the diagonal of A'A. At 0 it is the least-squares map of
            minimum norm, where singular values of A at or below max(n, h) times float32's eps times the largest count
            as zero.
        intercept: whether the map is affine, the intercept not damped; without it a and b are zero.

    Raises:
        InputError: there is no anchor.
    """
    centred = anchors.to(torch.float64, copy=True)
    count, width = centred.shape
    if not count:
        raise InputError("a map from the donor's rows to the source's needs at least one anchor")
    centre = centred.mean(dim=0) if intercept else centred.new_zeros(width)
    centred -= centre
    tall = count > width
    gram = centred.T @ centred if tall else centred @ centred.T
    shift = ridge * float(gram.diagonal().sum()) / width
    solved = _damped(gram, shift, centred, tall=tall) if ridge >= width * _RIDGE_PER_DIMENSION else None
    right = _pseudo_inverse(gram, shift, centred, tall=tall) if solved is None else solved
    if intercept:
        # The anchors' rows are centred, so that their tables need not be; the mean row comes on top.
        right = torch.cat([right, right.new_full((1, count), 1 / count)])
    return AffineMap(centre, right)


def memory_needed(count: int, width: int) -> int:
    """Bytes that `fit` takes beside the anchors, about.

    Args:
        count: anchors.
        width: of their rows.
    """
    return 8 * (4 * count * width + 3 * min(count, width) ** 2)


def _damped(gram: Tensor, shift: float, centred: Tensor, *, tall: bool) -> Tensor | None:
    """(A'A + shift)^-1 A', or the equal A' (AA' + shift)^-1, by Cholesky; None where that fails."""
    gram = gram.clone()
    gram.diagonal().add_(shift)
    factor, failed = torch.linalg.cholesky_ex(gram)
    if int(failed):
        return None
    solved: Tensor = torch.cholesky_solve(centred.T if tall else centred, factor)
    return solved if tall else solved.T


def _pseudo_inverse(gram: Tensor, shift: float, centred: Tensor, *, tall: bool) -> Tensor:
    """The same by eigenvectors, without the directions in which the anchors do not differ."""
    spectrum, vectors = torch.linalg.eigh(gram)
    smallest = (max(centred.shape) * torch.finfo(torch.float32).eps) ** 2 * float(spectrum[-1].clamp_min(0))
    kept = spectrum > smallest
    inverse: Tensor = (vectors * torch.where(kept, 1 / (spectrum + shift).where(kept, 1.0), 0.0)) @ vectors.T
    made: Tensor = inverse @ centred.T if tall else centred.T @ inverse
    return made
