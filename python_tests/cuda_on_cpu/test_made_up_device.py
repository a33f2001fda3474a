"""The made-up device refuses what CUDA refuses, does all else as the CPU does, and says where its tensors lie."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent

# What is tried, and what CUDA says to it, as far as anyone should look; None: it works.
CALLS = {
    "numbers.numpy()": "numpy",
    "numbers.cpu().numpy()": None,
    "whole @ whole": "not implemented for torch.int64",
    "whole.double() @ whole.double()": None,
    "numbers + torch.ones(3, device='cpu')": "Expected all tensors to be on the same device",
    "numbers + torch.tensor(2.0, device='cpu')": None,
    "torch.cat([numbers, numbers.cpu()])": "Expected all tensors to be on the same device",
    "torch.randn(3, generator=torch.Generator())": "Expected a 'cuda' device type for generator",
    "numbers[torch.tensor([0], device='cpu')]": None,
    "numbers.cpu()[torch.tensor([0])]": "Expected all tensors to be on the same device",
    "check(numbers.device.type == torch.arange(3).device.type == whole[0].double().device.type == 'cuda')": None,
    "check(numbers.to('cpu').device.type == torch.ones(2, device='cpu').device.type == 'cpu')": None,
    "check(torch.ones(2, device='cpu').to('cuda').is_cuda and torch.ones(2, device='cpu').cuda().is_cuda)": None,
    "check((numbers[0] @ whole.double()).shape == (3,) and whole.tolist() == [[0, 1, 2]] * 3)": None,
    "check(set_rows(torch.zeros(3, 2), [0, 2], 5).sum(1).tolist() == [10, 0, 10])": None,
    "check(torch.equal(numbers.where(numbers > 0, 1.0), numbers.cpu().where(numbers.cpu() > 0, 1.0).cuda()))": None,
}

SCRIPT = """
import json, sys
import torch
sys.path.append({folder!r})
from made_up_device import made_up_cuda
torch.ops.load_library({library!r})

def check(holds):
    assert holds

def set_rows(table, rows, value):
    table[rows] = value
    return table

said = {{}}
with made_up_cuda():
    numbers, whole = torch.randn(3, 3, dtype=torch.float64), torch.arange(3).repeat(3, 1)
    for call in json.loads(sys.stdin.read()):
        try:
            eval(call)
            said[call] = None
        except Exception as error:
            said[call] = str(error) or type(error).__name__
assert torch.ones(1).device.type == torch.get_default_device().type == "cpu"
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """In a process of its own, which has the device's guard from then on."""
    import torch

    library, package = tmp_path_factory.mktemp("guard") / "guard.so", Path(torch.__file__).parent
    command = ["g++", "-std=c++20", "-shared", "-fPIC", "-I", package / "include", FOLDER / "device_guard.cpp"]
    subprocess.run([*command, package / "lib" / "libc10.so", "-o", library], check=True)
    script = SCRIPT.format(folder=str(FOLDER), library=str(library))
    run = [sys.executable, "-c", script]
    answer = subprocess.run(run, input=json.dumps(list(CALLS)), check=True, capture_output=True, text=True).stdout
    found: dict[str, str | None] = json.loads(answer)
    return found


@pytest.mark.parametrize("call", CALLS)
def test_it_says_what_cuda_says(call: str, said: dict[str, str | None]) -> None:
    expected = CALLS[call]
    if expected is None:
        assert said[call] is None
    else:
        assert expected in str(said[call])
