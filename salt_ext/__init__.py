"""salt-ext: give a language model the tokenizer of another language and keep what it knows.

Importing the package registers the operators as torch.ops.salt.*; everything that needs transformers is imported on
first use.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from salt_ext.runtime.interruption import end_silently, is_own_program

if is_own_program():
    end_silently()  # until a command's work begins: torch alone takes seconds to import

from salt_ext import ops
from salt_ext.ops import Backend, backends  # registers the operators

if TYPE_CHECKING:
    from salt_ext.adaptation.api import AdaptationResult, adapt_model
    from salt_ext.adaptation.options import AdaptOptions
    from salt_ext.adaptation.phases import Phase
    from salt_ext.comparison.result import Comparison
    from salt_ext.comparison.run import compare
    from salt_ext.diagnosis import Diagnosis, diagnose
    from salt_ext.distillation import DistillOptions, DistillResult, distill
    from salt_ext.pipeline import TransferOptions, TransferResult, transfer
    from salt_ext.plan import TransferPlan

__all__ = [
    "AdaptOptions",
    "AdaptationResult",
    "Backend",
    "Comparison",
    "Diagnosis",
    "DistillOptions",
    "DistillResult",
    "Phase",
    "TransferOptions",
    "TransferPlan",
    "TransferResult",
    "__version__",
    "adapt_model",
    "backends",
    "compare",
    "diagnose",
    "distill",
    "ops",
    "transfer",
]

__version__ = version("salt-ext")

_LAZY = {
    "adapt_model": "salt_ext.adaptation.api",
    "AdaptationResult": "salt_ext.adaptation.api",
    "AdaptOptions": "salt_ext.adaptation.options",
    "Phase": "salt_ext.adaptation.phases",
    "compare": "salt_ext.comparison.run",
    "Comparison": "salt_ext.comparison.result",
    "diagnose": "salt_ext.diagnosis",
    "Diagnosis": "salt_ext.diagnosis",
    "distill": "salt_ext.distillation",
    "DistillOptions": "salt_ext.distillation",
    "DistillResult": "salt_ext.distillation",
    "transfer": "salt_ext.pipeline",
    "TransferOptions": "salt_ext.pipeline",
    "TransferResult": "salt_ext.pipeline",
    "TransferPlan": "salt_ext.plan",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
