"""CLP-Transfer (Ostendorff & Rehm 2023, section 3.2): all anchors, weighted by their donor rows' cosines.

The weights of a token t are cos(q, a) / sum over anchors of cos(q, a), with the donor rows q of t and a of the anchors.
They are dense, but of low rank: with unit rows, w = (q / (q . sum of a)) A'. So a plan keeps the unit rows of the
anchors and one row for each token, never tokens x anchors, and is exact.

Known defects of the published script: negative cosines count as they are, so that a token whose cosines nearly cancel
gets weights without a bound, and one that points away from most anchors gets their rows turned round. Both are in the
paper's formula and are kept; the report counts such tokens. An untied head keeps rows of the old vocabulary there;
here it is made by the same weights as the input table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.methods.core.neighbours import find_neighbours
from salt_ext.plan import LowRank, Provenance

_BLOCK = 4096
# A sum of rounded cosines says nothing below this share of their number.
_NO_SUM = float(torch.finfo(torch.float32).eps)
# Below this mean cosine the magnitudes of a token's weights may add up to a hundred.
_SMALL_MEAN = 0.01


@dataclass(frozen=True)
class Clp:
    """e = sum over all anchors of cos(q, a) / sum of cos(q, a) times their source rows."""

    info: ClassVar[MethodInfo] = MethodInfo(
        name="clp",
        summary="all anchors, weighted by the cosines of their donor rows with its own",
        paper="Ostendorff & Rehm 2023",
        cost="(new + anchors) x h",
        needs=("donor table",),
    )

    def combine(self, material: MethodInputs) -> Combinations:
        """New tokens with a donor row that is not zero are made, the others left.

        Raises:
            InputError: fewer than two anchors have a donor row.
        """
        donor = material.donor
        neighbours = find_neighbours(material, donor, keys=donor, method="CLP", row="a donor row")
        if not len(neighbours.new):
            return Combinations.none(fallback=Provenance.SAMPLED)
        right = _unit_rows(donor, neighbours.key_targets).T.contiguous()
        # Of the rounded rows, so that the weights that are applied add up to 1.
        total = right.double().sum(dim=1)
        left = _unit_rows(donor, neighbours.new)
        means = torch.cat([block.double() @ total for block in left.split(_BLOCK)]) / right.shape[1]
        made = means.abs() > _NO_SUM
        left = (left[made] / (means[made, None] * right.shape[1]).float()).contiguous()
        rows = neighbours.new[made.numpy()]
        nothing = np.empty(0, dtype=np.int64)
        away, small = int((means < 0).sum()), int((means.abs() < _SMALL_MEAN).sum())
        warnings = (
            f"{small} of {len(means)} new tokens have donor rows whose cosines with the anchors nearly cancel, and "
            f"{away} point away from most anchors: CLP gives them large or turned weights",
        )
        return Combinations(
            target_ids=rows,
            lengths=np.zeros(len(rows), dtype=np.int64),
            source_ids=nothing,
            values=nothing.astype(np.float32),
            low_rank=LowRank(torch.from_numpy(rows), left, right, torch.from_numpy(neighbours.key_sources)),
            facts={"pointing_away": away, "nearly_cancelling": small},
            warnings=warnings if away or small else (),
        )


def _unit_rows(table: Tensor, ids: npt.NDArray[np.int64]) -> Tensor:
    """float32 [n, h], rows divided by their norms in float64."""
    unit = torch.empty(len(ids), table.shape[1])
    for begin in range(0, len(ids), _BLOCK):
        rows = table[torch.from_numpy(ids[begin : begin + _BLOCK])].double()
        unit[begin : begin + _BLOCK] = rows / rows.norm(dim=1, keepdim=True)
    return unit
