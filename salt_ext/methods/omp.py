"""OMP (Goddard & Fernandes Neto 2025, tokensurgeon): a few anchors, chosen greedily, rebuild the donor's row.

Tokensurgeon codes input table and head apart, each in the donor's table of the same role; a plan is coded once, in the
donor's input table, so that tied and untied models move alike. Its command line applies `--prefix-match` and
`--byte-match` to the wrong one of the two tables; here neither exists, anchors are matched by their forms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.methods.assembly import Combinations
from salt_ext.methods.checks import check_count, check_enough_keys
from salt_ext.methods.material import Material, MethodInfo
from salt_ext.methods.nearest import rows_of_slots
from salt_ext.methods.neighbours import SparseRows, combine_blocks, find_neighbours, with_residual


@dataclass(frozen=True)
class Omp:
    """The least-squares weights of k anchors, each the one that fits best what the earlier ones leave of the donor row.

    Anchors count with the norms that their donor rows have, as in tokensurgeon.

    Attributes:
        k: anchors that a row is made of; fewer where they fit exactly.

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

    def __post_init__(self) -> None:
        check_count("k", self.k)

    def combine(self, material: Material) -> Combinations:
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

            def pursue(block: Tensor) -> SparseRows:
                queries = donor[block].float().to(device)
                return with_residual(rows_of_slots(*ops.omp(queries, atoms, self.k)), queries, atoms)

            return pursue

        return combine_blocks(material, neighbours, prepare, row_bytes=donor.shape[1] * torch.float32.itemsize)
