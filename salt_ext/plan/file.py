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
from salt_ext.plan.data import DensePart, Draw, LowRank, Norms

# The second has a dense part, which readers of the first would pass over.
_VERSIONS = ("4", "5")
_NAMES = {torch.int64: "I64", torch.float32: "F32", torch.uint8: "U8"}
_ORDER = list(_NAMES)
_BLOCK_BYTES = 16 << 20
# Tensors that a plan may lack.
EXTRA = ("head_values", "norm_anchors")
# Parts of several tensors, and what such a part may lack.
_LOW_RANK = ("rows", "left", "right", "columns")
_DENSE = ("rows", "input", "head", "snippets", "moved")
_OPTIONAL = frozenset({"dense.head"})


def save_plan(
    path: Path,
    tensors: dict[str, Tensor],
    *,
    extra: dict[str, Tensor | None],
    low_rank: LowRank | None,
    dense: DensePart | None,
    header: dict[str, str],
) -> None:
    """Writes a plan's tensors and strings, see `TransferPlan.save`."""
    given = tensors | extra
    if low_rank is not None:
        given |= {f"low_rank.{name}": getattr(low_rank, name) for name in _LOW_RANK}
    if dense is not None:
        given |= {f"dense.{name}": getattr(dense, name) for name in _DENSE}
    header = {"format": "salt_plan", "version": _VERSIONS[dense is not None]} | header
    held = {name: tensor for name, tensor in given.items() if tensor is not None}
    write_anew(path, _content(held, header), what="the plan")


def load_plan(path: Path) -> dict[str, Any]:
    """What `TransferPlan` is made of, from a file that `save_plan` wrote.

    Raises:
        InputError: the file is missing, corrupt or of another version.
    """
    require_regular(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            if metadata.get("format") != "salt_plan" or metadata.get("version") not in _VERSIONS:
                raise InputError(f"{path} is not a transfer plan of version {' or '.join(_VERSIONS)}")
            names = set(file.keys())
            low_rank = [f"low_rank.{name}" for name in _LOW_RANK] if "low_rank.rows" in names else []
            dense = [f"dense.{name}" for name in _DENSE] if "dense.rows" in names else []
            missing = (DTYPES.keys() | {*low_rank, *dense}) - names - _OPTIONAL
            if missing:
                raise InputError(f"{path} is not a transfer plan: it lacks {', '.join(sorted(missing))}")
            parts: dict[str, Any] = {name: file.get_tensor(name) for name in DTYPES}
            parts |= {name: file.get_tensor(name) for name in EXTRA if name in names}
            low_rank_tensors = [file.get_tensor(name) for name in low_rank]
            dense_tensors: list[Any] = [file.get_tensor(name) if name in names else None for name in dense]
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path} cannot be read as a transfer plan: {error!s:.300}") from error
    numbers = {name: metadata.get(name, "") for name in ("seed", "source_rows")}
    if not all(text.isascii() and text.isdigit() and len(text) < 20 for text in numbers.values()):
        raise InputError(f"{path} is not a transfer plan: its seed or source_rows is not a number")
    try:
        words = {"draw": Draw, "norms": Norms}
        parts |= {name: kind(metadata.get(name, "")) for name, kind in words.items()}
        parts["low_rank"] = LowRank(*low_rank_tensors) if low_rank else None
        parts["dense"] = DensePart(*dense_tensors) if dense else None
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
