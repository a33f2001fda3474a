"""A control: new rows drawn from the multivariate normal distribution of the source's rows (Hewitt 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.plan import Draw, Provenance


@dataclass(frozen=True)
class Gaussian:
    """Every new row has the source rows' mean and full covariance."""

    info: ClassVar[MethodInfo] = MethodInfo(
        name="gaussian",
        summary="drawn from the normal distribution with the source rows' mean and covariance",
        paper="Hewitt 2021",
        cost="h^2 numbers, h^3 steps",
    )

    def combine(self, material: MethodInputs) -> Combinations:
        """Makes no row: all are drawn when the plan is applied."""
        return Combinations.none(fallback=Provenance.SAMPLED, draw=Draw.MULTIVARIATE)
