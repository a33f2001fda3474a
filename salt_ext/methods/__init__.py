"""Methods: each turns what two vocabularies share into a transfer plan; one file per method."""

from __future__ import annotations

from salt_ext.methods.core.assembly import Combinations, assemble_plan
from salt_ext.methods.core.contract import check_method
from salt_ext.methods.core.inputs import KEY_KINDS, Method, MethodInfo, MethodInputs
from salt_ext.methods.core.registry import make_method, method_class, method_names

__all__ = [
    "KEY_KINDS",
    "Combinations",
    "Method",
    "MethodInfo",
    "MethodInputs",
    "assemble_plan",
    "check_method",
    "make_method",
    "method_class",
    "method_names",
]
