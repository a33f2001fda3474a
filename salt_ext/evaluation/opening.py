"""A model folder as transformers opens it, to be measured or trained: a causal language model, or a clear word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from salt_ext.checkpoint.adapters import without_adapter
from salt_ext.checkpoint.model_config import model_config
from salt_ext.errors import InputError, brief
from salt_ext.runtime.device import CPU
from salt_ext.runtime.progress import without_progress_bars

# Tokens that a model is given at once where nothing else is asked for.
LONGEST_CONTEXT = 512


def causal_config(folder: Path, *, trust: bool, what: str = "model") -> Any:
    """The configuration of a model that continues a text.

    Args:
        folder: the model's.
        trust: whether Python code that comes with it may run.
        what: what the user calls it; messages begin with it.

    Raises:
        InputError: it is an encoder-decoder, or transformers does not know it.
    """
    try:
        config: Any = model_config(folder, trust_remote_code=trust)
    except Exception as error:  # configurations come from anywhere
        raise InputError(f"{what} cannot be run as a causal language model: {brief(error)}") from error
    if config.is_encoder_decoder:
        raise InputError(f"{what} is an encoder-decoder ({config.model_type}), expected a causal language model")
    return config


def context_of(config: Any, most: int = LONGEST_CONTEXT) -> int:
    """Tokens that a model reads at once, at most so many.

    Args:
        config: see `causal_config`.
        most: what is wanted.
    """
    return min(most, int(getattr(config.get_text_config(), "max_position_embeddings", None) or most))


def open_causal(
    folder: Path, *, trust: bool, dtype: torch.dtype = torch.float32, device: torch.device = CPU, what: str = "model"
) -> PreTrainedModel:
    """The model of a folder, in evaluation mode, without an adapter that lies beside its weights.

    Args:
        folder: of a causal language model.
        trust: whether Python code that comes with it may run.
        dtype: of its weights.
        device: where it goes.
        what: what the user calls it; messages begin with it.

    Raises:
        InputError: transformers cannot open it as a causal language model.
    """
    try:
        with without_progress_bars(), without_adapter(folder) as place:
            config = model_config(folder, trust_remote_code=trust)
            model: Any = AutoModelForCausalLM.from_pretrained(
                place, config=config, dtype=dtype, trust_remote_code=trust
            )
    except (ValueError, OSError, RuntimeError) as error:
        raise InputError(f"{what} cannot be run as a causal language model: {brief(error)}") from error
    moved: PreTrainedModel = model.to(device).eval()
    return moved
