"""The first layer of a model: enough to see that keys load, ids fit and tables are right, at a fixed price.

The layers behind them are copied byte for byte, and reading them again would take as long as writing them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from salt_ext.checkpoint.header import read_header
from salt_ext.checkpoint.layout import find_layout
from salt_ext.checkpoint.model_config import model_config

DEPTH = 1
# Families call the number of layers by one of these; many configurations answer to more than one.
_DEPTHS = ("num_hidden_layers", "num_layers", "encoder_layers", "decoder_layers", "num_decoder_layers")
_PARTS = ("text_config", "encoder", "decoder")


def shallow_config(folder: Path, *, trust_remote_code: bool) -> tuple[Any, int]:
    """A model's configuration with one layer on each side, and how many layers it really has."""
    config = model_config(folder, trust_remote_code=trust_remote_code)
    parts = [config, *(part for name in _PARTS if (part := getattr(config, name, None)) is not None)]
    layers = max((_cut(part) for part in parts), default=0)
    return config, layers


def shallow_bytes(folder: Path) -> int:
    """Bytes of the tensors of a safetensors folder that such a model has; those of shards that count their layers."""
    layout = find_layout(folder)
    names = {layout.single_file} if layout.shards is None else set(layout.shards.values())
    tensors = [info for name in names for info in read_header(folder / name).tensors]
    return sum(info.nbytes for info in tensors if _layer(info.name) < DEPTH)


def _cut(part: Any) -> int:
    """Cuts one part; how many layers it had."""
    layers = 0
    for name in _DEPTHS:
        count = getattr(part, name, None)
        if isinstance(count, int) and count > DEPTH:
            layers = max(layers, count)
            setattr(part, name, DEPTH)
    # What families say of each layer (layer_types and the like).
    for name, value in vars(part).items():
        if layers and isinstance(value, list) and len(value) == layers:
            setattr(part, name, value[:DEPTH])
    return layers


def _layer(key: str) -> int:
    """The first number in a key; -1 without one."""
    found = re.search(r"\.(\d+)\.", key)
    return int(found[1]) if found else -1
