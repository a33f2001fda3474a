"""A control: new rows of any direction with the norms of source rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.plan import Draw, Provenance


@dataclass(frozen=True)
class Random:
    """Every new row points anywhere and is as long as a source row that is drawn at random."""

    info: ClassVar[MethodInfo] = MethodInfo(
        name="random",
        summary="a random direction with the norm of a source row that is drawn",
        paper="control",
        cost="nothing",
    )

    def combine(self, material: MethodInputs) -> Combinations:
        """Makes no row: all are drawn when the plan is applied."""
        return Combinations.none(fallback=Provenance.SAMPLED, draw=Draw.DIRECTION)
