"""The demonstration: the whole job on two small models trained on the spot, from text that comes with Python."""

from __future__ import annotations

from salt_ext.demo.run import run

__all__ = ["run"]
