"""Killed at any moment it goes on to the same figures; two processes come to those of one; FSDP runs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")
pytest.importorskip("datasets", reason="texts are streamed by datasets")
pytest.importorskip("yaml", reason="--config is read by pyyaml")

from .conftest import figures

pytestmark = pytest.mark.slow

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
PHASES = "vocabulary=448,all=576"


@pytest.fixture
def command(moved, text, tmp_path):
    """The arguments of a training into a folder: seven steps of the tables, nine of all weights."""
    config = tmp_path / "config.yaml"
    config.write_text("eval_steps: 2\nsave_steps: 2\nuse_cpu: true\nbf16: false\n")

    def made(output: Path, *more: str) -> list[str]:
        texts = ["--text", str(text), "--cache", str(tmp_path / "cache"), "--config", str(config)]
        sizes = ["--phases", PHASES, "--tokens-per-step", "64", "--context", "16", "--lr", "1e-2"]
        return ["adapt", str(moved), "-o", str(output), *texts, *sizes, *more]

    return made


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


def launch(*arguments: str) -> str:
    """By accelerate, two processes on this machine's gloo."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    launcher = ["-m", "accelerate.commands.launch", "--num_processes", "2", "--num_machines", "1"]
    numbers = ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", str(port)]
    return run(*launcher, *numbers, *arguments)


def kill_behind(lines: int, arguments: list[str], work: Path) -> None:
    """Starts a training and kills it when its curve has so many lines."""
    curve = work / "salt_curve.jsonl"
    process = subprocess.Popen([sys.executable, "-m", "salt_ext", *arguments], env=ENVIRONMENT, stderr=subprocess.PIPE)
    while process.poll() is None:
        if curve.exists() and curve.read_bytes().count(b"\n") >= lines:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_killed_it_goes_on_to_the_same_curve_and_weights(command, tmp_path):
    run("-m", "salt_ext", *command(tmp_path / "whole"))
    for lines in (6, 18):  # in the first phase, in the second
        kill_behind(lines, command(tmp_path / "cut"), tmp_path / "cut.unfinished")
        assert not (tmp_path / "cut").exists()
    assert "going on with the training" in run("-m", "salt_ext", *command(tmp_path / "cut"))
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    same = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("cut", "whole")]
    assert same[0] == same[1]
    assert not (tmp_path / "cut.unfinished").exists()


def test_two_processes_come_to_what_one_does(command, tmp_path):
    """The same global batch: only the order of sums differs. So it is with the weights in two halves."""
    run("-m", "salt_ext", *command(tmp_path / "one"))
    launch("--multi_gpu", "-m", "salt_ext", *command(tmp_path / "two"))
    sharding = ["--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP"]
    sharding += ["--fsdp_state_dict_type", "FULL_STATE_DICT"]
    script = str(Path(__file__).with_name("fsdp_on_cpu.py"))
    launch(*sharding, script, *command(tmp_path / "sharded"))
    start = load_file(Path(command(tmp_path)[1]) / "model.safetensors")
    one = load_file(tmp_path / "one" / "model.safetensors")
    for name in ("two", "sharded"):
        for mine, other in zip(figures(tmp_path / "one"), figures(tmp_path / name), strict=True):
            assert mine.pop("trains") == other.pop("trains")
            assert mine == pytest.approx(other, rel=1e-5)
        weights = load_file(tmp_path / name / "model.safetensors")
        for key, tensor in one.items():
            moved_by = float((tensor - start[key]).abs().max())
            torch.testing.assert_close(weights[key], tensor, rtol=0, atol=0.01 * moved_by)
