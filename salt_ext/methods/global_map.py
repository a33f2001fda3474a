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

from salt_ext.methods.core.affine_map import fit, memory_needed
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.checks import check_not_negative
from salt_ext.methods.core.fallback import made_of_pieces
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.methods.core.neighbours import find_neighbours
from salt_ext.plan import LowRank, Provenance


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

    def combine(self, material: MethodInputs) -> Combinations:
        """New tokens with a donor row that is not zero are made, the others of their pieces.

        Raises:
            InputError: fewer than two anchors have a donor row.
        """
        donor = material.donor
        neighbours = find_neighbours(material, donor, keys=donor, method="the global map", row="a donor row")
        if not len(neighbours.new):
            return made_of_pieces(Combinations.none(fallback=Provenance.AVERAGED), material)

        def map_all(device: torch.device) -> LowRank:
            anchors = donor[torch.from_numpy(neighbours.key_targets)].to(device)
            fitted = fit(anchors, ridge=self.ridge, intercept=self.intercept).rounded()
            rows = torch.from_numpy(neighbours.new)
            left = fitted.domains(donor, rows, device, kept=rows.device)
            return LowRank(rows, left, fitted.right, torch.from_numpy(neighbours.key_sources))

        keys, width = len(neighbours.key_targets), donor.shape[1]
        nothing = np.empty(0, dtype=np.int64)
        combined = Combinations(
            target_ids=neighbours.new,
            lengths=np.zeros(len(neighbours.new), dtype=np.int64),
            source_ids=nothing,
            values=nothing.astype(np.float32),
            low_rank=material.placement.run("regression", map_all, needed=memory_needed(keys, width)),
        )
        return made_of_pieces(combined, material)
