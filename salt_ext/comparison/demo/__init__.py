"""The demonstration: the whole job on two small models trained on the spot, from text that comes with Python."""

from __future__ import annotations

from salt_ext.comparison.demo.run import Demonstration, run

__all__ = ["Demonstration", "run"]
