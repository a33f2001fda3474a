"""Bits per byte of a language model, and a short training: figures that compare models with different tokenizers."""

from __future__ import annotations

from salt_ext.evaluation.text import TextScore, adapt, bits_per_byte, measure

__all__ = ["TextScore", "adapt", "bits_per_byte", "measure"]
