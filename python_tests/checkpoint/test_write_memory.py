"""Memory is bounded by the tables, not by the model, whatever its format and whatever becomes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from salt_ext.checkpoint import Checkpoint
from salt_ext.checkpoint.write import NewTensor

from .conftest import write_model

EXTRA = 200_000_000


def add_to_safetensors(folder: Path, dtype: str) -> None:
    """A tensor of 200 MB that is a hole of a sparse file."""
    file = folder / "model.safetensors"
    raw = file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    end = len(raw) - 8 - length
    size = EXTRA // {"U8": 1, "F32": 4}[dtype]
    header["unknown.buffer"] = {"dtype": dtype, "shape": [size], "data_offsets": [end, end + EXTRA]}
    text = json.dumps(header).encode()
    with file.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text + raw[8 + length :])
        stream.truncate(stream.tell() + EXTRA)


def pickle_with_more(folder: Path, state: dict[str, torch.Tensor]) -> None:
    (folder / "model.safetensors").unlink()
    with torch.serialization.skip_data():
        torch.save(state | {"unknown.buffer": torch.empty(EXTRA, dtype=torch.uint8)}, folder / "pytorch_model.bin")


@pytest.fixture
def growth() -> Callable[[Callable[[], object]], int]:
    """By how many bytes the process grows while a function runs, at most."""
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        pytest.skip("needs Linux, where the peak of a process can be reset")

    def memory(field: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])

    def measure(function: Callable[[], object]) -> int:
        reset.write_text("5")
        before = memory("VmRSS")
        function()
        return memory("VmHWM") - before

    return measure


@pytest.mark.parametrize("way", ["safetensors", "converted", "pickled"])
def test_peak_memory_is_a_table_not_the_model(make_checkpoint, tokenizer, tmp_path, growth, way):
    folder, model = make_checkpoint("llama-tied")
    if way == "pickled":
        pickle_with_more(folder, model.state_dict())
    else:
        add_to_safetensors(folder, "U8" if way == "safetensors" else "F32")
    dtype = torch.bfloat16 if way == "converted" else None
    table = torch.zeros(40, 32, dtype=dtype)

    source = Checkpoint.open(folder)
    name = source.vocabulary_tensors().input

    def write() -> None:
        write_model(
            source,
            tmp_path / "out",
            tensors={name: NewTensor((40, 32), lambda: table)},
            config=source.config,
            generation_config=None,
            tokenizer=tokenizer,
            force=False,
            dtype=dtype,
        )

    assert growth(write) < 60e6
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as opened:
        written = opened.get_slice("unknown.buffer")
        assert written.get_dtype() == ("BF16" if way == "converted" else "U8")
        assert written.get_shape() == [EXTRA // 4 if way == "converted" else EXTRA]
