"""Model folders: what they hold, and how a new one is made from an old one."""

from __future__ import annotations

from salt_ext.checkpoint.config import config_rows, reserved_rows, resized_config
from salt_ext.checkpoint.destination import check_output
from salt_ext.checkpoint.folder import Checkpoint, model_folder
from salt_ext.checkpoint.header import TensorInfo
from salt_ext.checkpoint.layout import holds_weights, without_weights
from salt_ext.checkpoint.output_files import check_write
from salt_ext.checkpoint.padding import padded_rows, padding_multiple
from salt_ext.checkpoint.tensors import ModelOptions, VocabularyTensors
from salt_ext.checkpoint.write import NewTensor, write_configs, write_tokenizer, write_weights

__all__ = [
    "Checkpoint",
    "ModelOptions",
    "NewTensor",
    "TensorInfo",
    "VocabularyTensors",
    "check_output",
    "check_write",
    "config_rows",
    "holds_weights",
    "model_folder",
    "padded_rows",
    "padding_multiple",
    "reserved_rows",
    "resized_config",
    "without_weights",
    "write_configs",
    "write_tokenizer",
    "write_weights",
]
