"""Some rows of a tensor: the same as of the whole, whichever file holds it and in whatever order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from salt_ext.checkpoint.header import read_header
from salt_ext.checkpoint.pickled import read_pickled
from salt_ext.checkpoint.reading import read_rows, read_tensor
from salt_ext.errors import InputError

ROWS = [5, 0, 0, 18, 3]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(19, 7), (19, 1), (19, 2, 3)])
@pytest.mark.parametrize("kind", ["safetensors", "pickled", "another order"])
def test_rows(kind, shape, dtype, tmp_path: Path) -> None:
    table = torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    file = tmp_path / "file"
    if kind == "safetensors":
        save_file({"before": torch.ones(3), "table": table}, file)
        tensors = read_header(file).tensors
    else:
        stored = table.transpose(0, 1).contiguous().transpose(0, 1) if kind == "another order" else table
        torch.save({"before": torch.ones(3), "table": stored}, file)
        tensors = read_pickled(file)
    info = next(tensor for tensor in tensors if tensor.name == "table")
    assert torch.equal(read_rows(info, ROWS), table[ROWS])
    assert read_rows(info, ROWS).dtype == dtype
    assert read_rows(info, []).shape == (0, *shape[1:])
    assert torch.equal(read_rows(info, range(19)), read_tensor(info))


def test_a_file_that_has_shrunk(tmp_path: Path) -> None:
    file = tmp_path / "file"
    save_file({"table": torch.ones(19, 7)}, file)
    (info,) = read_header(file).tensors
    os.truncate(file, file.stat().st_size - 28)
    assert torch.equal(read_rows(info, [17]), torch.ones(1, 7))
    with pytest.raises(InputError, match="ended while table was read"):
        read_rows(info, [18])
