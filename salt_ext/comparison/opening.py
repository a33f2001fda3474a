"""Models of a comparison as transformers opens them: the source, and what a plan makes of it, written as a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import PreTrainedModel

from salt_ext.checkpoint import NewTensor
from salt_ext.errors import InputError, OutputError
from salt_ext.evaluation.opening import open_causal
from salt_ext.pair.pair import Pair, moved_configs
from salt_ext.pair.writing import write_moved_model
from salt_ext.vocab import Anchors


def open_source(pair: Pair, *, device: torch.device) -> PreTrainedModel:
    """The source in float32, in evaluation mode.

    Raises:
        InputError: transformers cannot open it as a causal language model.
    """
    checkpoint = pair.source.checkpoint
    return open_causal(checkpoint.folder, trust=checkpoint.options.trust_remote_code, device=device, what="source")


def open_moved(
    pair: Pair, anchors: Anchors, tensors: Mapping[str, NewTensor], *, rows: int, device: torch.device
) -> PreTrainedModel:
    """A moved model in float32, in evaluation mode: written to a temporary folder as `transfer` would, and opened.

    So ties, heads, biases, tables and configured ids of every architecture are right without a second implementation,
    for the disk space of one model, which is free again when this returns, and the time of writing it.

    Args:
        pair: source and new tokenizer.
        anchors: what they share.
        tensors: what replaces the vocabulary-indexed ones, see `SourceTables.moved`.
        rows: of the new tables.
        device: where the model goes.

    Raises:
        InputError: transformers cannot open it as a causal language model.
        OutputError: the folder for temporary files cannot take the model.
    """
    checkpoint = pair.source.checkpoint
    configs = moved_configs(pair, anchors, rows=rows)
    with tempfile.TemporaryDirectory(prefix="salt-compare-") as scratch:
        folder = Path(scratch) / "model"
        try:
            folder.mkdir()
            write_moved_model(pair, configs, tensors, folder)
        except (OutputError, OSError) as error:
            reason = str(error).replace(str(folder), f"a model in {tempfile.gettempdir()}")
            raise OutputError(f"the folder for temporary files (TMPDIR) cannot be used: {reason}") from error
        try:
            return open_causal(folder, trust=checkpoint.options.trust_remote_code, device=device, what="source")
        except InputError as error:
            raise InputError(str(error).replace(str(folder), "the moved model")) from error
