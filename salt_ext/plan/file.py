"""A plan as a safetensors file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from salt_ext.errors import InputError, OutputError, brief
from salt_ext.outputs import write_anew
from salt_ext.paths import require_regular
from salt_ext.plan.check import DTYPES, RESERVED
from salt_ext.plan.parts import Draw, HeadBias, LowRank, Norms

_VERSION = "3"
# Tensors that a plan may lack.
EXTRA = ("head_values", "log_counts", "norm_anchors", "norm_groups")
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
    # Copies: the library refuses tensors that share memory.
    tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    header = {"format": "salt_plan", "version": _VERSION} | header
    try:
        # Not save_file: it leaves a file that only its owner may read.
        content = _reproducible(safetensors.torch.save(tensors, metadata=header))
    except safetensors.SafetensorError as error:
        raise OutputError(f"the plan cannot be written to {path}: {brief(error)}") from error
    write_anew(path, content, what="the plan")


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
        words = {"draw": Draw, "norms": Norms, "head_bias": HeadBias, "head_scale": float}
        parts |= {name: kind(metadata.get(name, "")) for name, kind in words.items()}
        parts["low_rank"] = LowRank(*dense) if dense else None
    except ValueError as error:
        raise InputError(f"{path} is not a valid transfer plan: {brief(error)}") from None
    parts |= {name: int(text) for name, text in numbers.items()}
    parts["metadata"] = {name: text for name, text in metadata.items() if name not in RESERVED}
    return parts


def _reproducible(file: bytes) -> bytes:
    """The file with its metadata in order; the library writes it in another order every time."""
    length = int.from_bytes(file[:8], "little")
    ordered = json.dumps(json.loads(file[8 : 8 + length]), separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    raw = ordered.encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + file[8 + length :]
