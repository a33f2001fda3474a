"""Another floating dtype for a whole model."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from salt_ext.checkpoint.header import FLOATING, TensorInfo, dtype_name
from salt_ext.checkpoint.reading import byte_view, chunks
from salt_ext.errors import InputError


def named_dtype(dtype: str | torch.dtype | None, allowed: Sequence[str]) -> torch.dtype | None:
    """The dtype that a user means, None for none.

    Args:
        dtype: torch's own, or its name.
        allowed: names.

    Raises:
        InputError: it is none of these.
    """
    if dtype is None:
        return None
    name = str(dtype).removeprefix("torch.")
    if name not in allowed:
        raise InputError(f"dtype is {name}, expected one of {', '.join(allowed)}")
    found: torch.dtype = getattr(torch, name)
    return found


def check_dtype(dtype: torch.dtype, config: Mapping[str, Any]) -> None:
    """Checks, before any work, that a model can be converted.

    Args:
        dtype: the dtype that is asked for.
        config: config.json of the model.

    Raises:
        InputError: the dtype is none of float16, bfloat16, float32, float64; or the model is quantised, so that its
            floating tensors are scales of integers.
    """
    if dtype not in FLOATING.values():
        raise InputError(f"dtype is {dtype}, expected torch.float16, bfloat16, float32 or float64")
    if config.get("quantization_config"):
        raise InputError("dtype: the source is quantised (its config.json has a quantization_config), cannot convert")


def converted_name(info_dtype: str, dtype: torch.dtype | None) -> str:
    """The safetensors dtype that a tensor gets; its own where it is no floating one or `dtype` is None."""
    if dtype is None or info_dtype not in FLOATING:
        return info_dtype
    return dtype_name(dtype) or info_dtype


def converted_chunks(info: TensorInfo, dtype: torch.dtype) -> Iterator[memoryview]:
    """The bytes of one floating tensor in another dtype, row-major, in pieces of bounded size.

    Raises:
        InputError: a finite value becomes infinite; or see `chunks`.
    """
    origin = FLOATING[info.dtype]
    limit = torch.finfo(dtype).max
    for piece in chunks(info):
        before = torch.frombuffer(piece, dtype=origin)
        after = before.to(dtype)
        low, high = before.aminmax()
        # Several times faster than looking for infinities, which only then must be told from those of the source.
        if not (low >= -limit and high <= limit):
            overflowed = before[after.isinf() & ~before.isinf()]
            if len(overflowed):
                value = overflowed[0].item()
                raise InputError(f"dtype is {dtype}, in which {info.name} does not fit: it holds {value:g}")
        yield byte_view(after)


def converted_config(config: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """config.json of a converted model: the dtype, wherever a part states one, and on top in any case."""
    name = str(dtype).removeprefix("torch.")
    converted = copy.deepcopy(dict(config))
    if not {"dtype", "torch_dtype"} & converted.keys():
        converted["dtype"] = name
    for part in [converted, *(value for value in converted.values() if isinstance(value, dict))]:
        for key in ("dtype", "torch_dtype"):
            if key in part:
                part[key] = name
    return converted
