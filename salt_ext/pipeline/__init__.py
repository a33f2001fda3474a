"""A transfer from the user's options to the finished folder, and what can be asked before and after it."""

from __future__ import annotations

from salt_ext.pipeline.api import TransferResult, transfer
from salt_ext.pipeline.options import TransferOptions

__all__ = ["TransferOptions", "TransferResult", "transfer"]
