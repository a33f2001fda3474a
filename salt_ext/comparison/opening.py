"""Models of a comparison as transformers opens them: the source, and what a plan makes of it, written as a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from salt_ext.checkpoint import NewTensor
from salt_ext.checkpoint.adapters import without_adapter
from salt_ext.checkpoint.model_config import model_config
from salt_ext.errors import InputError, OutputError, brief
from salt_ext.pair.pair import Pair, moved_configs
from salt_ext.pair.writing import write_moved_model
from salt_ext.runtime.progress import without_progress_bars
from salt_ext.vocab import Anchors

LONGEST_CONTEXT = 512
_CANNOT_RUN = "source cannot be run as a causal language model, and what it makes of a text is to be measured"


def context_of(pair: Pair) -> int:
    """Tokens that the source reads at once: as many as it can, at most 512.

    Raises:
        InputError: it is an encoder-decoder, which does not continue a text, or transformers does not know it.
    """
    checkpoint = pair.source.checkpoint
    trust = checkpoint.options.trust_remote_code
    try:
        config = model_config(checkpoint.folder, trust_remote_code=trust)
    except (ValueError, OSError) as error:
        raise InputError(f"{_CANNOT_RUN}: {brief(error)}") from error
    if config.is_encoder_decoder:
        raise InputError(f"source is an encoder-decoder ({config.model_type}), expected a causal language model")
    longest = getattr(config.get_text_config(), "max_position_embeddings", None) or LONGEST_CONTEXT
    return min(LONGEST_CONTEXT, int(longest))


def open_source(pair: Pair, *, device: torch.device) -> PreTrainedModel:
    """The source in float32, in evaluation mode.

    Raises:
        InputError: transformers cannot open it as a causal language model.
    """
    checkpoint = pair.source.checkpoint
    return open_causal(checkpoint.folder, trust=checkpoint.options.trust_remote_code, device=device)


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
            return open_causal(folder, trust=checkpoint.options.trust_remote_code, device=device)
        except InputError as error:
            raise InputError(str(error).replace(str(folder), "the moved model")) from error


def open_causal(folder: Path, *, trust: bool, device: torch.device) -> PreTrainedModel:
    """The model of a folder in float32, in evaluation mode.

    Args:
        folder: of a causal language model.
        trust: whether Python code that comes with it may run.
        device: where the model goes.

    Raises:
        InputError: transformers cannot open it as a causal language model.
    """
    try:
        with without_progress_bars(), without_adapter(folder) as place:
            config = model_config(folder, trust_remote_code=trust)
            model: Any = AutoModelForCausalLM.from_pretrained(
                place, config=config, dtype=torch.float32, trust_remote_code=trust
            )
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{_CANNOT_RUN}: {brief(error)}") from error
    moved: PreTrainedModel = model.to(device)
    return moved
