"""Another dtype for a whole model: every floating tensor as torch itself converts it, everything else as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from salt_ext.checkpoint import Checkpoint
from salt_ext.checkpoint.convert import check_dtype, converted_config
from salt_ext.checkpoint.header import read_header
from salt_ext.checkpoint.reading import CHUNK
from salt_ext.checkpoint.write import NewTensor, write_file
from salt_ext.errors import InputError

from .conftest import write_model

FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def converted(tensors: dict[str, torch.Tensor], folder: Path, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    save_file(tensors, folder / "in")
    before, metadata = read_header(folder / "in")
    steps: list[int] = []
    write_file(folder / "out", before, metadata, new={}, dtype=dtype, advance=steps.append)
    # Every tensor begins where its width divides the offset.
    infos = read_header(folder / "out").tensors
    assert all(info.begin % info.torch_dtype.itemsize == 0 for info in infos)
    assert sum(steps) == sum(info.nbytes for info in infos)
    return load_file(folder / "out")


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_floating_tensor(tmp_path, dtype):
    tensors = {str(float_).removeprefix("torch."): torch.randn(7, 3).to(float_) for float_ in FLOATS}
    special = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e-8, 65504.0]
    tensors |= {"special": torch.tensor(special), "scalar": torch.tensor(1.5), "empty": torch.empty(0, 3)}
    tensors["large"] = torch.randn(2 * CHUNK // 8 + 5, dtype=torch.float64)
    others = {
        "odd": torch.arange(3, dtype=torch.uint8),
        "whole": torch.arange(5),
        "short": torch.arange(3, dtype=torch.int16),
        "boolean": torch.tensor([True]),
        "eight": torch.randn(5).to(torch.float8_e4m3fn),
    }
    after = converted(tensors | others, tmp_path, dtype)
    for name, tensor in tensors.items():
        expected = tensor.to(dtype)
        assert after[name].dtype == dtype
        assert torch.equal(after[name].reshape(-1).view(torch.uint8), expected.reshape(-1).view(torch.uint8)), name
    for name, tensor in others.items():
        assert after[name].dtype == tensor.dtype
        assert torch.equal(after[name].view(torch.uint8), tensor.view(torch.uint8)), name


@pytest.mark.parametrize(
    ("value", "origin", "dtype"),
    [
        (70_000.0, torch.float32, torch.float16),
        (-70_000.0, torch.bfloat16, torch.float16),
        (1e39, torch.float64, torch.float32),
        (3.4e38, torch.float32, torch.bfloat16),
    ],
)
def test_what_does_not_fit(tmp_path, value, origin, dtype):
    table = torch.ones(4, 3, dtype=origin)
    table[2, 1] = value
    with pytest.raises(InputError, match=rf"dtype is {dtype}, in which the\.table does not fit: it holds -?[\d.e+]+$"):
        converted({"the.table": table}, tmp_path, dtype)


def test_bad_dtypes():
    for dtype in (torch.int8, torch.float8_e4m3fn, torch.complex64):
        with pytest.raises(InputError, match=r"^dtype is torch.*expected torch\.float16, bfloat16, float32 or float64"):
            check_dtype(dtype, {})
    with pytest.raises(InputError, match=r"^dtype: the source is quantised"):
        check_dtype(torch.float16, {"quantization_config": {"quant_method": "fp8"}})


def test_config():
    config = {"dtype": "float32", "text_config": {"torch_dtype": "float32", "hidden_size": 8}, "vision_config": {}}
    assert converted_config(config, torch.bfloat16) == {
        "dtype": "bfloat16",
        "text_config": {"torch_dtype": "bfloat16", "hidden_size": 8},
        "vision_config": {},
    }
    assert config["dtype"] == "float32"
    assert converted_config({"torch_dtype": "float32"}, torch.float16) == {"torch_dtype": "float16"}
    assert converted_config({"a": 1}, torch.float64) == {"a": 1, "dtype": "float64"}


@pytest.mark.parametrize("options", [{}, {"max_shard_size": "20KB"}], ids=["single", "sharded"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_whole_model(make_checkpoint, tokenizer, tmp_path, dtype, options):
    folder, model = make_checkpoint("llama-untied", **options)
    source = Checkpoint.open(folder)
    table = torch.randn(40, 32).to(dtype)
    told = []
    write_model(
        source,
        tmp_path / "out",
        tensors=dict.fromkeys(source.vocabulary_tensors().names, NewTensor((40, 32), lambda: table)),
        config=source.config | {"vocab_size": 40},
        generation_config=None,
        tokenizer=tokenizer,
        force=False,
        dtype=dtype,
        advance=lambda done, total: told.append((done, total)),
    )
    files = sorted((tmp_path / "out").glob("model*.safetensors"))
    after = {name: tensor for file in files for name, tensor in load_file(file).items()}
    assert set(after) == set(source.tensors)
    for name, tensor in model.state_dict().items():
        assert torch.equal(after[name], table if len(tensor) == 96 else tensor.to(dtype)), name
    loaded = type(model).from_pretrained(tmp_path / "out")
    assert loaded.dtype == dtype
    if options:
        metadata = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())["metadata"]
        assert metadata["total_size"] == sum(tensor.nbytes for tensor in after.values())
        assert metadata["total_parameters"] == sum(tensor.numel() for tensor in after.values())
    # The progress only grows, and ends with everything done.
    assert told == sorted(told)
    assert told[-1] == (told[0][1], sum(tensor.nbytes for tensor in after.values()))
    assert {total for _, total in told} == {told[-1][1]}
