"""The transfer plan: how every row of the new tables is made from rows of the old ones."""

from __future__ import annotations

from salt_ext.plan.data import DensePart, Draw, LowRank, Norms, Provenance
from salt_ext.plan.plan import TransferPlan

__all__ = ["DensePart", "Draw", "LowRank", "Norms", "Provenance", "TransferPlan"]
