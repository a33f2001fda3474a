"""A plan as a safetensors file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from salt_ext.errors import InputError, brief
from salt_ext.files.output_file import write_anew
from salt_ext.files.paths import require_regular
from salt_ext.plan.check import DTYPES, RESERVED
from salt_ext.plan.data import Draw, LowRank, Norms

_VERSION = "4"
_NAMES = {torch.int64: "I64", torch.float32: "F32", torch.uint8: "U8"}
_ORDER = list(_NAMES)
_BLOCK_BYTES = 16 << 20
# Tensors that a plan may lack.
EXTRA = ("head_values", "norm_anchors")
_LOW_RANK = ("rows", "left", "right", "columns")


def save_plan(
    path: Path,
    tensors: dict[str, Tensor],
    *,
    extra: dict[str, Tensor | None],
    low_rank: LowRank | None,
    header: dict[str, str],
) -> None:
    """Writes a plan's tensors and strings, see `TransferPlan.save`."""
    tensors = tensors | {name: tensor for name, tensor in extra.items() if tensor is not None}
    if low_rank is not None:
        tensors = tensors | {f"low_rank.{name}": getattr(low_rank, name) for name in _LOW_RANK}
    header = {"format": "salt_plan", "version": _VERSION} | header
    write_anew(path, _content(tensors, header), what="the plan")


def load_plan(path: Path) -> dict[str, Any]:
    """What `TransferPlan` is made of, from a file that `save_plan` wrote.

    Raises:
        InputError: the file is missing, corrupt or of another version.
    """
    require_regular(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("format") != "salt_plan" or metadata.get("version") != _VERSION:
                raise InputError(f"{path} is not a transfer plan of version {_VERSION}")
            names = set(file.keys())
            low_rank = [f"low_rank.{name}" for name in _LOW_RANK] if "low_rank.rows" in names else []
            missing = (DTYPES.keys() | set(low_rank)) - names
            if missing:
                raise InputError(f"{path} is not a transfer plan: it lacks {', '.join(sorted(missing))}")
            parts: dict[str, Any] = {name: file.get_tensor(name) for name in DTYPES}
            parts |= {name: file.get_tensor(name) for name in EXTRA if name in names}
            dense = [file.get_tensor(name) for name in low_rank]
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path} cannot be read as a transfer plan: {error!s:.300}") from error
    numbers = {name: metadata.get(name, "") for name in ("seed", "source_rows")}
    if not all(text.isascii() and text.isdigit() and len(text) < 20 for text in numbers.values()):
        raise InputError(f"{path} is not a transfer plan: its seed or source_rows is not a number")
    try:
        words = {"draw": Draw, "norms": Norms}
        parts |= {name: kind(metadata.get(name, "")) for name, kind in words.items()}
        parts["low_rank"] = LowRank(*dense) if dense else None
    except ValueError as error:
        raise InputError(f"{path} is not a valid transfer plan: {brief(error)}") from None
    parts |= {name: int(text) for name, text in numbers.items()}
    parts["metadata"] = {name: text for name, text in metadata.items() if name not in RESERVED}
    return parts


def _content(tensors: dict[str, Tensor], header: dict[str, str]) -> Iterator[bytes]:
    """A safetensors file in pieces, without a copy of the tensors, which may be as large as a table.

    The same plan gives the same bytes: keys in order, tensors in the order of the library's own files.
    """
    entries: dict[str, Any] = {"__metadata__": header}
    ordered = sorted(tensors.items(), key=lambda item: (_ORDER.index(item[1].dtype), item[0]))
    end = 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.nbytes
        entries[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    raw = json.dumps(entries, separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode()
    raw += b" " * (-len(raw) % 8)
    yield len(raw).to_bytes(8, "little") + raw
    for _, tensor in ordered:
        rows = tensor.reshape(tensor.shape[0], -1) if tensor.numel() else tensor.reshape(0, 1)
        for block in rows.split(max(1, _BLOCK_BYTES // max(1, rows[:1].nbytes))):
            yield block.contiguous().numpy().tobytes()
