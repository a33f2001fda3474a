"""torch's own file format (`pytorch_model.bin`): where its tensors lie, found without reading any of them.

A file is a zip archive of uncompressed records: a pickle that describes the tensors, and the bytes of each storage. The
pickle is read by `torch.load(weights_only=True)`, which runs no code, in torch's fake mode, which makes tensors without
memory and notes where the file holds their storages. Offsets serve better here than `mmap=True`: tensors can be copied
from file to file without passing through this process, mapped pages do not count as its memory, and a file that shrinks
meanwhile gives an error instead of a bus error.
"""

from __future__ import annotations

import math
import pickletools
import struct
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from salt_ext.checkpoint.header import TensorInfo, dtype_name
from salt_ext.errors import InputError, brief

_LOCAL_HEADER = struct.Struct("<26xHH")  # ends with the lengths of name and extra field, which precede the bytes
# What a tensor that repeats its bytes may take where its whole file is smaller.
_REPEATED = 64 << 20
_SET = torch.ops.aten.set_.source_Storage_storage_offset
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"
# What a pickle calls to make a tensor of another kind than a block of plain numbers. torch's fake mode cannot make them
# in some of its versions, and says so in words that are no help to anybody.
_OTHER_KINDS = {
    "torch._utils _rebuild_sparse_tensor": "sparse layout",
    "torch._utils _rebuild_nested_tensor": "nested layout",
    "torch.nested._internal.nested_tensor _rebuild_njt": "nested layout",
    "torch._utils _rebuild_qtensor": "quantized numbers",
}


def read_pickled(file: Path) -> list[TensorInfo]:
    """Reads what a file of `torch.save` says about its tensors; no tensor is read, and no code of the file is run.

    Args:
        file: a state dictionary: a mapping of names to tensors, as transformers writes it.

    Returns:
        The tensors by ascending offset. Views and tied tensors share bytes of the file.

    Raises:
        InputError: the file cannot be read, is truncated or corrupt, holds something else than tensors by name, or
            something that `weights_only` refuses.
    """
    try:
        with file.open("rb") as stream:
            start = stream.read(4)
            if start != _ZIP:
                raise InputError(_other_format(file, start))
            records, pickles = _records(stream, file)
            _refuse_other_kinds(pickles, file)
            state = _load(stream, file)
    except FileNotFoundError:
        raise InputError(f"{file} does not exist") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or brief(error)}") from error
    if not isinstance(state, Mapping):
        raise InputError(f"{file} holds a {type(state).__name__}, where tensors by name were expected")
    tensors = [_tensor(name, value, file, records) for name, value in state.items()]
    return sorted(tensors, key=lambda tensor: (tensor.begin, tensor.nbytes))


def _other_format(file: Path, start: bytes) -> str:
    if start.startswith(_PICKLE):
        return (
            f"{file} is in the format of torch before 1.6; to convert it: "
            f"torch.save(torch.load(FILE, map_location='cpu', weights_only=True), FILE)"
        )
    return f"{file} is not a file of torch.save: it begins with {start!r}"


def _records(stream: IO[bytes], file: Path) -> tuple[dict[int, int], list[bytes]]:
    """Length by offset of every record of the archive, and its pickles."""
    found: dict[int, int] = {}
    pickles: list[bytes] = []
    try:
        with zipfile.ZipFile(stream) as archive:
            for entry in archive.infolist():
                if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
                    raise InputError(f"{file} is compressed, which torch.save never does: {entry.filename!r:.80}")
                stream.seek(entry.header_offset)
                lengths = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
                found[entry.header_offset + _LOCAL_HEADER.size + sum(lengths)] = entry.file_size
                if Path(entry.filename).name == "data.pkl":
                    pickles.append(archive.read(entry))
                if Path(entry.filename).name == "byteorder" and archive.read(entry) != b"little":
                    raise InputError(f"{file} was written on a big-endian machine, which is not supported")
        size = stream.seek(0, 2)
    except InputError:
        raise
    except Exception as error:  # zipfile meets a corrupt directory with errors of many kinds
        raise InputError(f"{file} is truncated or corrupt: {brief(error)}") from error
    if any(offset + length > size for offset, length in found.items()):
        raise InputError(f"{file} is truncated or corrupt: a record lies beyond its {size} bytes")
    stream.seek(0)
    return found, pickles


def _refuse_other_kinds(pickles: list[bytes], file: Path) -> None:
    for name, kind in filter(None, map(_other_kind, pickles)):
        raise InputError(f"{file}: {name} is a tensor of {kind}, which is not read")


def _other_kind(pickled: bytes) -> tuple[str, str] | None:
    """Name and kind of the first tensor that is never read, from the pickle itself; it is taken apart, not run."""
    name = ""
    with suppress(ValueError):  # a broken pickle, about which torch has its say
        for operation, argument, _ in pickletools.genops(pickled):
            if operation.name == "GLOBAL" and argument in _OTHER_KINDS:
                return name, _OTHER_KINDS[argument]
            if operation.name == "BINUNICODE":  # the last one before a tensor is its name
                name = str(argument)
    return None


def _load(stream: IO[bytes], file: Path) -> Any:
    try:
        with FakeTensorMode(), _NoNegativeStrides():  # type: ignore[no-untyped-call]
            return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle from anywhere can fail in any way
        # torch's own text advises to load the file unsafely; what it was made from is the reason alone.
        lines = str(error.__context__ or error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"{file} is corrupt, or holds more than tensors and is refused for safety: {lines[0]:.120}"
        ) from error


class _NoNegativeStrides(TorchDispatchMode):
    """torch refuses them when it loads a tensor, but in fake mode makes one of other strides without a word."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is _SET and any(step < 0 for strides in args[4:5] for step in strides):
            raise ValueError(f"a tensor has the strides {list(args[4])}")
        return func(*args, **(kwargs or {}))


def _tensor(name: object, value: object, file: Path, records: Mapping[int, int]) -> TensorInfo:
    if not isinstance(name, str):
        raise InputError(f"{file} has the key {name!r:.80}, where a name was expected")
    if isinstance(value, Mapping):
        raise InputError(
            f"{file} holds a dictionary under {name!r:.80}, where a tensor was expected: it looks like a training "
            f"checkpoint; save the model's state_dict() alone"
        )
    if not isinstance(value, Tensor):
        raise InputError(f"{file} holds a {type(value).__name__} under {name!r:.80}, where a tensor was expected")
    dtype = dtype_name(value.dtype)
    if dtype is None or value.layout != torch.strided or value.is_conj() or value.is_neg():
        raise InputError(f"{file}: {name} is a tensor of {value.dtype} and layout {value.layout}, which is not read")
    storage = value.untyped_storage()
    start = getattr(storage, "_checkpoint_offset", None)
    # torch believes the pickle; what it says must be one record of the archive, and the tensor must lie inside.
    if start is None or records.get(start) != storage.nbytes():
        raise InputError(f"{file} is corrupt, or packed by something else than torch.save: {name} lies at no record")
    shape, size = tuple(value.shape), value.dtype.itemsize
    info = TensorInfo(
        name,
        file,
        dtype,
        shape,
        start + value.storage_offset() * size,
        math.prod(shape) * size,
        None if value.is_contiguous() else value.stride(),
    )
    if info.begin + info.span > start + storage.nbytes():
        raise InputError(f"{file} is corrupt: {name} of shape {list(shape)} does not fit its storage")
    # Steps of 0 repeat the same bytes, so that a few can claim to be more than any memory holds.
    if info.nbytes > max(_REPEATED, file.stat().st_size):
        raise InputError(
            f"{file}: {name} of shape {list(shape)} and strides {list(value.stride())} repeats {info.span} bytes of "
            f"the file until they are {info.nbytes}, which is not read"
        )
    return info
