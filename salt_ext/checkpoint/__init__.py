"""Model folders: what they hold, and how a new one is made from an old one."""

from __future__ import annotations

from salt_ext.checkpoint.config import TokenIds, config_rows, updated_config, updated_generation_config
from salt_ext.checkpoint.folder import Checkpoint
from salt_ext.checkpoint.header import TensorInfo
from salt_ext.checkpoint.staging import check_output
from salt_ext.checkpoint.tensors import VocabularyTensors
from salt_ext.checkpoint.write import write_checkpoint

__all__ = [
    "Checkpoint",
    "TensorInfo",
    "TokenIds",
    "VocabularyTensors",
    "check_output",
    "config_rows",
    "updated_config",
    "updated_generation_config",
    "write_checkpoint",
]
