"""The moved model's own files: tokenizer, weights and configurations; what else goes into a folder is its maker's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from salt_ext.checkpoint import NewTensor, write_configs, write_tokenizer, write_weights
from salt_ext.pair.pair import Pair
from salt_ext.tokenizer import TranslatedConfigs


def write_moved_model(
    pair: Pair,
    configs: TranslatedConfigs,
    tensors: Mapping[str, NewTensor],
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    link: bool = False,
    advance: Callable[[int, int], None] | None = None,
) -> None:
    """Fills an empty folder with a model that transformers opens.

    Args:
        pair: the source, whose body is taken over, and the new tokenizer.
        configs: the new configurations.
        tensors: what replaces the vocabulary-indexed tensors, by key.
        folder: where.
        dtype: converts all floating weights; None keeps them.
        link: hard-link files that do not change.
        advance: called with (bytes of weights written or linked, bytes in all).

    Raises:
        OutputError, InputError, OSError: see `write_weights`, `write_tokenizer`.
    """
    write_tokenizer(pair.target.tokenizer, folder)
    write_weights(pair.source.checkpoint, tensors, folder, dtype=dtype, link=link, advance=advance)
    write_configs(configs.config, configs.generation_config, folder, dtype=dtype)
