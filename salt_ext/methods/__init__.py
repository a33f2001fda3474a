"""Methods: each turns what two vocabularies share into a transfer plan; one file per method."""

from __future__ import annotations

from salt_ext.methods.assembly import Combinations, assemble_plan
from salt_ext.methods.salt import KEY_KINDS, SaltOptions, fit_warnings, salt_plan

__all__ = ["KEY_KINDS", "Combinations", "SaltOptions", "assemble_plan", "fit_warnings", "salt_plan"]
