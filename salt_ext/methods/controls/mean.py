"""The control that knows nothing of a token: the mean of all source rows (Hewitt 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.plan import Provenance


@dataclass(frozen=True)
class Mean:
    """Every new row is the mean of the source's rows."""

    info: ClassVar[MethodInfo] = MethodInfo(
        name="mean", summary="the mean of all source rows", paper="Hewitt 2021", cost="nothing"
    )

    def combine(self, material: MethodInputs) -> Combinations:
        """Makes no row: all are left to the mean."""
        return Combinations.none(fallback=Provenance.AVERAGED)
