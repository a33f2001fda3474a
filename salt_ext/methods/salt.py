"""SALT (Lee et al. 2025, section 3): each new token through its own regression onto the tokens that both share.

For a new token t with auxiliary vector f(t) and donor row q = E_t[t]: the support N holds the shared tokens with a
non-zero weight in sparsemax(cos(f(t), f(S))), and with A = E_t[N], B = E_s[N] the new row is q X for the minimum-norm
least-squares map X = pinv(A) B. Since q pinv(A) B = w B with w = q pinv(A), the weights w need neither X nor the
source's table: one plan serves every table of the source.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.errors import InputError
from salt_ext.methods.assembly import Combinations
from salt_ext.methods.material import Material, MethodInfo
from salt_ext.methods.neighbours import SparseRows, combine_blocks, find_neighbours

# Fewer than this are a reason to warn.
_DIMENSIONS_PER_NEIGHBOUR = 4


@dataclass(frozen=True)
class Salt:
    """The paper's regression, and the numbers that it leaves open.

    Attributes:
        temperature: of the sparsemax, above 0; a small one leaves few neighbours.
        rcond: singular values at or below rcond times the largest count as zero; None for max(k, h) * eps.
        ridge: this times the mean of the Gram matrix's diagonal is added to it; 0 is the paper's letter.

    Raises:
        InputError: a number is not finite or out of range.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="salt",
        summary="its own least-squares map from its nearest anchors' donor rows to their source rows",
        paper="Lee et al. 2025, Findings of ACL",
        cost="new x anchors x D for the search, k^2 h for each regression",
        needs=("donor table", "auxiliary vectors"),
    )

    temperature: float = 1.0
    rcond: float | None = None
    ridge: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"temperature is {self.temperature}, expected a finite number above 0")
        for name, value in (("rcond", self.rcond), ("ridge", self.ridge)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value}, expected a finite number of at least 0")

    def combine(self, material: Material) -> Combinations:
        """New tokens with an auxiliary vector and a donor row that is not zero are regressed, the others left.

        Raises:
            InputError: a table has too few rows, or fewer than two anchors can serve the regression.
        """
        auxiliary, donor = material.auxiliary, material.donor
        neighbours = find_neighbours(material, auxiliary, donor, keys=auxiliary, method="SALT")
        key_rows = torch.from_numpy(neighbours.key_targets)

        def prepare(device: torch.device) -> Callable[[Tensor], SparseRows]:
            # One key more or less changes a minimum-norm fit visibly, so near-ties at the sparsemax's threshold are
            # decided in float64: the same support on every machine, for a third more of the search's time.
            key_vectors, key_donors = auxiliary[key_rows].to(device), donor[key_rows].float().to(device)

            def regress(block: Tensor) -> SparseRows:
                vectors, queries = auxiliary[block].to(device), donor[block].float().to(device)
                crow, col, _ = ops.cosine_sparsemax(vectors, key_vectors, temperature=self.temperature)
                weights = ops.lstsq_weights(crow, col, queries, key_donors, ridge=self.ridge, rcond=self.rcond)
                missing = queries - ops.csr_matmul(crow, col, weights, key_donors)
                return SparseRows(crow, col, weights, missing.norm(dim=1) / queries.norm(dim=1))

            return regress

        row_bytes = auxiliary.shape[1] * auxiliary.element_size() + donor.shape[1] * torch.float32.itemsize
        combined = combine_blocks(material, neighbours, prepare, row_bytes=row_bytes)
        return replace(combined, warnings=self._warnings(combined, donor.shape[1]))

    def _warnings(self, combined: Combinations, width: int) -> tuple[str, ...]:
        """The fewer dimensions remain for each neighbour, the more of the fit is noise.

        With a median of 91 neighbours in 96 dimensions, small models that we moved were far worse than with random
        rows, and well again with a ridge of 0.1.
        """
        sizes = torch.from_numpy(combined.lengths[combined.lengths > 0])
        if self.ridge > 0 or not len(sizes) or _DIMENSIONS_PER_NEIGHBOUR * int(sizes.median()) < width:
            return ()
        return (
            f"a new token has {int(sizes.median())} neighbours (median) for the donor's {width} dimensions: a fit this "
            "tight follows noise; --ridge 0.1 or a lower --temperature helps",
        )
