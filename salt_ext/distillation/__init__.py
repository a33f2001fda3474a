"""New rows that learn from the source itself: hidden states and probabilities of a text, all else frozen."""

from __future__ import annotations

from salt_ext.distillation.job import DistillResult, distill
from salt_ext.distillation.options import DistillOptions

__all__ = ["DistillOptions", "DistillResult", "distill"]
