"""OMP (Goddard & Fernandes Neto 2025, tokensurgeon): a few anchors, chosen greedily, rebuild the donor's row.

Tokensurgeon codes input table and head apart, each in the donor's table of the same role; a plan is coded once, in the
donor's input table, so that tied and untied models move alike. Its command line applies `--prefix-match` and
`--byte-match` to the wrong one of the two tables; here neither exists, anchors are matched by their forms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.checks import check_count, check_enough_keys
from salt_ext.methods.core.fallback import made_of_pieces
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.methods.core.nearest import rows_of_slots
from salt_ext.methods.core.neighbours import Neighbours, SparseRows, combine_blocks, find_neighbours, with_residual
from salt_ext.plan import LowRank


@dataclass(frozen=True)
class Omp:
    """The least-squares weights of k anchors, each the one that fits best what the earlier ones leave of the donor row.

    Anchors count with the norms that their donor rows have, as in tokensurgeon.

    Attributes:
        k: anchors that a row is made of; fewer where they fit exactly.
        intercept: whether rows are rebuilt around the anchors' mean, which the new row then has in whole; as published
            they are not, and what a real model's rows have in common is lost.

    Raises:
        InputError: k is no whole number of at least 1.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="omp",
        summary="64 anchors, chosen greedily, whose donor rows add up to its own",
        paper="Goddard & Fernandes Neto 2025 (tokensurgeon)",
        cost="new x anchors x h, k times",
        needs=("donor table",),
    )

    k: int = 64
    intercept: bool = False

    def __post_init__(self) -> None:
        check_count("k", self.k)

    def combine(self, material: MethodInputs) -> Combinations:
        """New tokens with a donor row that is not zero are made, the others left.

        Raises:
            InputError: k is above the number of anchors.
        """
        donor = material.donor
        neighbours = find_neighbours(material, donor, keys=donor, method="OMP", row="a donor row")
        check_enough_keys("k", self.k, neighbours)
        key_rows = torch.from_numpy(neighbours.key_targets)

        def prepare(device: torch.device) -> Callable[[Tensor], SparseRows]:
            atoms = donor[key_rows].float().to(device)
            centre = atoms.mean(dim=0) if self.intercept else torch.zeros_like(atoms[0])
            atoms = atoms - centre

            def pursue(block: Tensor) -> SparseRows:
                queries = donor[block].float().to(device) - centre
                return with_residual(rows_of_slots(*ops.omp(queries, atoms, self.k)), queries, atoms)

            return pursue

        combined = combine_blocks(material, neighbours, prepare, row_bytes=donor.shape[1] * torch.float32.itemsize)
        return made_of_pieces(_around_mean(combined, neighbours), material) if self.intercept else combined


def _around_mean(combined: Combinations, neighbours: Neighbours) -> Combinations:
    """b + w (B - b) with the anchors' mean row b: what the weights lack of a sum of 1 goes to it, as a dense term."""
    owners = np.repeat(np.arange(len(combined.target_ids)), combined.lengths)
    sums = np.bincount(owners, combined.values, minlength=len(combined.target_ids))
    count = len(neighbours.key_sources)
    mean = LowRank(
        rows=torch.from_numpy(combined.target_ids),
        left=torch.from_numpy(1 - sums).float()[:, None],
        right=torch.full((1, count), 1 / count),
        columns=torch.from_numpy(neighbours.key_sources),
    )
    return replace(combined, low_rank=mean)
