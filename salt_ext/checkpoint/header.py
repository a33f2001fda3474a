"""The safetensors file format: reading a header strictly, and making one.

A file is an 8-byte little-endian length, that many bytes of JSON, then the tensors' bytes without gaps. Files come from
anywhere, so nothing in a header is believed until it is checked against the file's size.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from salt_ext.errors import InputError, brief

MAX_HEADER = 100_000_000  # the limit of the safetensors library itself

_TORCH_DTYPES: dict[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "U16": torch.uint16,
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "F32": torch.float32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F64": torch.float64,
    "C64": torch.complex64,
}
# Formats that torch has no scalar type for (or packs differently) are only ever copied byte by byte.
_OPAQUE_BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8}
_BITS = {name: dtype.itemsize * 8 for name, dtype in _TORCH_DTYPES.items()} | _OPAQUE_BITS
# What a model computes in, and what rows can be computed from; narrower ones mean nothing without their scales.
FLOATING = {name: _TORCH_DTYPES[name] for name in ("F16", "BF16", "F32", "F64")}
INTEGER = frozenset({"U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})
_NAMES = {dtype: name for name, dtype in _TORCH_DTYPES.items()}


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies, from its file's header alone. `salt_ext.checkpoint.reading` reads it.

    Attributes:
        name: the key in the checkpoint.
        file: the file that holds it.
        dtype: the name that the safetensors format gives its dtype ("BF16", "F32", ...).
        shape: its shape.
        begin: offset of its first byte in `file`.
        nbytes: its length in bytes, its elements in row-major order without gaps.
        stride: elements to step per dimension where the file's order is another one (pickled files only), else None.
    """

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    nbytes: int
    stride: tuple[int, ...] | None = None

    @property
    def span(self) -> int:
        """The bytes of `file` from `begin` to the end of its last element."""
        if self.stride is None or 0 in self.shape:
            return self.nbytes
        last = sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        return (last + 1) * _BITS[self.dtype] // 8

    @property
    def torch_dtype(self) -> torch.dtype | None:
        """The dtype in torch, None for the packed formats that torch has no scalar type for."""
        return _TORCH_DTYPES.get(self.dtype)


class Header(NamedTuple):
    """All that a safetensors file says about itself: tensors by ascending offset, and its metadata strings."""

    tensors: list[TensorInfo]
    metadata: dict[str, str]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _tensor(name: str, entry: Any, file: Path, data_start: int, data_size: int) -> TensorInfo:
    """One entry of the header; ValueError says what is wrong with it."""
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= entry.keys():
        raise ValueError(f"the entry of {name!r} lacks dtype, shape or data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise ValueError(f"{name!r} has the unknown dtype {dtype!r:.40}")
    if not isinstance(shape, list) or not all(_is_size(size) for size in shape):
        raise ValueError(f"the shape of {name!r} is not a list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(_is_size(offset) for offset in offsets):
        raise ValueError(f"the data_offsets of {name!r} are not two offsets")
    begin, end = offsets
    if not begin <= end <= data_size:
        raise ValueError(f"{name!r} lies at bytes {begin} to {end} of {data_size}: the file is truncated or corrupt")
    if math.prod(shape) * _BITS[dtype] != (end - begin) * 8:
        raise ValueError(f"{name!r} of shape {shape} and dtype {dtype} cannot take {end - begin} bytes")
    return TensorInfo(name, file, dtype, tuple(shape), data_start + begin, end - begin)


def _parse(raw: bytes, file: Path, data_start: int, data_size: int) -> Header:
    header = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise ValueError("the header is not a JSON object")
    if b"\\u" in raw:
        # Half a surrogate pair is no text, which other readers refuse.
        json.dumps(header, ensure_ascii=False).encode("utf-8")
    metadata = header.pop("__metadata__", None)
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("__metadata__ does not map strings to strings")
    tensors = [_tensor(name, entry, file, data_start, data_size) for name, entry in header.items()]
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.nbytes))
    expected = data_start
    for tensor in tensors:
        if tensor.begin != expected:
            raise ValueError(f"{tensor.name!r} begins at byte {tensor.begin}, where byte {expected} was expected")
        expected += tensor.nbytes
    if expected != data_start + data_size:
        raise ValueError(f"its tensors end at byte {expected}, but the file has {data_start + data_size} bytes")
    return Header(tensors, metadata)


def read_header(file: Path) -> Header:
    """Reads and checks the header of one safetensors file; no tensor is read.

    Args:
        file: the safetensors file.

    Returns:
        The tensors by ascending offset, and the metadata strings (empty when there are none).

    Raises:
        InputError: the file cannot be read, is truncated, or its header contradicts itself or the file's size.
    """
    try:
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size < 8:
                raise InputError(f"{file} is not a safetensors file: it has {size} bytes, a header needs at least 8")
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(size - 8, MAX_HEADER):
                raise InputError(
                    f"{file} is truncated or not a safetensors file: "
                    f"it claims a header of {length} bytes and has {size} bytes"
                )
            raw = stream.read(length)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{file} does not exist") from None
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    try:
        return _parse(raw, file, 8 + length, size - 8 - length)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not a valid safetensors file: {brief(error)}") from None


def dtype_name(dtype: torch.dtype) -> str | None:
    """The name that the safetensors format gives a torch dtype, None where it has none."""
    return _NAMES.get(dtype)


def element_bits(dtype: str) -> int:
    """The bits that one element of this safetensors dtype takes."""
    return _BITS[dtype]


def encode_header(tensors: Iterable[tuple[str, str, tuple[int, ...]]], metadata: dict[str, str]) -> bytes:
    """The bytes before the first tensor of a file that holds `tensors` in this order.

    Args:
        tensors: name, safetensors dtype name and shape of each.
        metadata: the file's metadata strings.

    Returns:
        Length and JSON, padded with spaces so that the tensors begin at a multiple of 8 bytes.
    """
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, dtype, shape in tensors:
        end = offset + nbytes(dtype, shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    raw = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw


def nbytes(dtype: str, shape: tuple[int, ...]) -> int:
    """The bytes that a tensor of this safetensors dtype and shape takes."""
    return math.prod(shape) * _BITS[dtype] // 8
