"""The safetensors header: compared with the safetensors library, and fed with corrupt files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from salt_ext.checkpoint.header import encode_header, read_header
from salt_ext.errors import InputError


def _raw(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "model.safetensors"


def test_reads_what_the_library_writes(file):
    tensors = {
        "b": torch.randn(3, 4, dtype=torch.bfloat16),
        "ä/\"'": torch.arange(5),
        "empty": torch.empty(0, 7),
        "scalar": torch.tensor(True),
        "half": torch.ones(2, 2, 2, dtype=torch.float16),
        "eight": torch.ones(3).to(torch.float8_e4m3fn),
    }
    save_file(tensors, file, metadata={"format": "pt", "note": "ü"})
    header = read_header(file)
    assert header.metadata == {"format": "pt", "note": "ü"}
    assert {tensor.name for tensor in header.tensors} == set(tensors)
    content = file.read_bytes()
    for tensor in header.tensors:
        expected = tensors[tensor.name]
        assert (tensor.torch_dtype, tensor.shape) == (expected.dtype, tuple(expected.shape))
        raw = expected.reshape(-1).view(torch.uint8).numpy().tobytes()
        assert content[tensor.begin : tensor.begin + tensor.nbytes] == raw


def test_the_library_reads_what_we_write(file):
    header = encode_header([("a", "F32", (2, 1)), ("ü", "I64", ()), ("none", "BF16", (0, 3))], {"format": "pt"})
    assert len(header) % 8 == 0
    file.write_bytes(header + struct.pack("<ffq", 1.5, -2.0, 7))
    loaded = load_file(file)
    assert loaded["a"].tolist() == [[1.5], [-2.0]]
    assert loaded["ü"].item() == 7
    assert loaded["none"].shape == (0, 3)
    with safetensors.safe_open(file, "pt") as opened:
        assert opened.metadata() == {"format": "pt"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes"),
        (b"1234567", "7 bytes"),
        (_raw({}, length=1000), "claims a header of 1000 bytes"),
        (_raw({}, length=2**64 - 1), "claims a header"),
        (_raw(b"\xff\xfe{}"), "not a valid safetensors file"),
        (_raw(b"{"), "not a valid safetensors file"),
        (_raw(b"[" * 100_000), "not a valid safetensors file"),
        (_raw(b"9" * 10_000), "not a valid safetensors file"),
        (_raw([]), "not a JSON object"),
        (_raw({"a": 1}), "lacks dtype"),
        (_raw({"a": {"dtype": "F32", "shape": [2]}}), "lacks dtype"),
        (_raw({"a": _entry(dtype="F31")}, b"\0" * 8), "unknown dtype"),
        (_raw({"a": _entry(dtype=["F32"])}, b"\0" * 8), "unknown dtype"),
        (_raw({"a": _entry(shape=[-2])}, b"\0" * 8), "shape"),
        (_raw({"a": _entry(shape=[True, 2])}, b"\0" * 8), "shape"),
        (_raw({"a": _entry(shape=[2.0])}, b"\0" * 8), "shape"),
        (_raw({"a": _entry(shape="22")}, b"\0" * 8), "shape"),
        (_raw({"a": _entry(offsets=[0])}, b"\0" * 8), "data_offsets"),
        (_raw({"a": _entry(offsets=[8, 0])}, b"\0" * 8), "bytes 8 to 0 of 8"),
        (_raw({"a": _entry()}, b"\0" * 7), "truncated"),
        (_raw({"a": _entry(shape=[3])}, b"\0" * 8), "cannot take 8 bytes"),
        (_raw({"a": _entry(shape=[2**62, 2**62, 4])}, b"\0" * 8), "cannot take"),
        (_raw({"a": _entry(), "b": _entry()}, b"\0" * 8), "begins at byte"),
        (_raw({"a": _entry(), "b": _entry(offsets=[12, 20])}, b"\0" * 20), "begins at byte"),
        (_raw({"a": _entry()}, b"\0" * 9), "end at byte"),
        (_raw({"__metadata__": {"format": 1}}), "__metadata__"),
        (_raw(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{}}'), "occurs twice"),
    ],
)
def test_corrupt_files(file, content, message):
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        read_header(file)
    assert str(file) in str(error.value)
    assert len(str(error.value)) < 400


def test_missing_file(file):
    with pytest.raises(InputError, match="does not exist"):
        read_header(file)
    file.mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_header(file)
