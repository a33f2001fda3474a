"""The bytes of one tensor, whichever file format holds it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from io import FileIO

import torch
from torch import Tensor

from salt_ext.checkpoint.header import TensorInfo
from salt_ext.errors import InputError

# A multiple of every element's size, so that no element is cut in two; small, so that it stays in a core's cache.
CHUNK = 1 << 18


def read_tensor(info: TensorInfo) -> Tensor:
    """One tensor, in its own dtype, in memory of its own.

    Raises:
        InputError: torch has no such dtype, or the file cannot be read or has shrunk since it was opened.
    """
    dtype = info.torch_dtype
    if dtype is None:
        raise InputError(f"{info.name} has dtype {info.dtype}, which torch cannot hold")
    raw = torch.empty(info.span, dtype=torch.uint8)
    with open_source(info) as stream:
        stream.seek(info.begin)
        _fill(stream, raw.numpy().data, info)
    if info.stride is None:
        return raw.view(dtype).reshape(info.shape)
    return raw.view(dtype).as_strided(info.shape, info.stride).clone(memory_format=torch.contiguous_format)


def read_rows(info: TensorInfo, rows: Sequence[int]) -> Tensor:
    """Some rows of a tensor along its first dimension, [len(rows), ...], in its own dtype; no other byte is read.

    Args:
        info: the tensor; one that its file holds in another order is read whole.
        rows: numbers from 0 to the tensor's rows - 1, in any order.

    Raises:
        InputError: see `read_tensor`.
    """
    if info.stride is not None or info.torch_dtype is None:
        return read_tensor(info)[list(rows)]
    width = info.torch_dtype.itemsize * math.prod(info.shape[1:])
    raw = torch.empty(len(rows), width, dtype=torch.uint8)
    with open_source(info) as stream:
        for place, row in enumerate(rows):
            stream.seek(info.begin + row * width)
            _fill(stream, raw[place].numpy().data, info)
    return raw.reshape(-1).view(info.torch_dtype).reshape(len(rows), *info.shape[1:])


def chunks(info: TensorInfo) -> Iterator[memoryview]:
    """The bytes of one tensor, row-major, in pieces of at most `CHUNK` that end between elements.

    Memory is one piece, except for a tensor that its file holds in another order: that one is read whole.

    Yields:
        Views that hold until the next one is asked for.

    Raises:
        InputError: the file cannot be read or has shrunk since it was opened.
    """
    if info.stride is not None:
        whole = byte_view(read_tensor(info))
        for begin in range(0, info.nbytes, CHUNK):
            yield whole[begin : begin + CHUNK]
        return
    buffer = memoryview(bytearray(min(CHUNK, info.nbytes)))
    with open_source(info) as stream:
        stream.seek(info.begin)
        for begin in range(0, info.nbytes, CHUNK):
            piece = buffer[: min(CHUNK, info.nbytes - begin)]
            _fill(stream, piece, info)
            yield piece


def same_bytes(first: TensorInfo, second: TensorInfo) -> bool:
    """Whether two tensors have one dtype, one shape and the same bits.

    Raises:
        InputError: see `chunks`.
    """
    if (first.dtype, first.shape) != (second.dtype, second.shape):
        return False
    if (first.file, first.begin, first.stride) == (second.file, second.begin, second.stride):
        return True
    return all(one == two for one, two in zip(chunks(first), chunks(second), strict=True))


def byte_view(tensor: Tensor) -> memoryview:
    """The memory of a contiguous CPU tensor."""
    # Flat first: of a single column torch calls any strides contiguous, and then cannot view it as bytes.
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def open_source(info: TensorInfo) -> FileIO:
    """The tensor's file, open for reading without a buffer.

    Raises:
        InputError: it cannot be opened.
    """
    try:
        return info.file.open("rb", buffering=0)
    except OSError as error:
        raise InputError(f"{info.file} cannot be read: {error.strerror}") from error


def ended_early(info: TensorInfo) -> InputError:
    """What to raise where a file ends before the tensor that its header put there."""
    return InputError(f"{info.file} ended while {info.name} was read: it changed since it was opened")


def _fill(stream: FileIO, target: memoryview, info: TensorInfo) -> None:
    done = 0
    while done < len(target):
        try:
            count = stream.readinto(target[done:])
        except OSError as error:
            raise InputError(f"{info.file} cannot be read: {error.strerror}") from error
        if not count:
            raise ended_early(info)
        done += count
