"""Which device the ops run on, and what happens when its memory is short; a GPU is made up where none is there."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

import salt_ext
from salt_ext import cli, ops
from salt_ext.errors import InputError
from salt_ext.methods.core import neighbours as method
from salt_ext.ops import loader as _loader
from salt_ext.plan import TransferPlan
from salt_ext.runtime import device
from salt_ext.runtime.device import CPU, Placement, choose_device, move_used_rows

GIB = 1 << 30


@pytest.fixture
def no_gpu(monkeypatch):
    cuda = _loader.Backend("cuda", available=False, reason="torch sees no CUDA device")
    monkeypatch.setattr(_loader, "backends", lambda: {"cuda": cuda})


@pytest.fixture
def two_gpus(monkeypatch):
    """Two CUDA devices with 8 GiB free on which nothing can run."""
    monkeypatch.setattr(_loader, "backends", lambda: {"cuda": _loader.Backend("cuda", available=True, reason="")})
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda where: "made up")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda where: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(device, "free_memory", lambda where: 8 * GIB)


@pytest.fixture
def moves_go_nowhere(monkeypatch):
    """What is moved to a made-up GPU stays on the CPU, so that the ops run."""
    plain_to, plain_empty = torch.Tensor.to, torch.Tensor.new_empty

    def to(tensor, *args, **options):
        return plain_to(tensor, *(CPU if isinstance(value, torch.device) else value for value in args), **options)

    def new_empty(tensor, *shape, **options):
        return plain_empty(tensor, *shape, **{name: value for name, value in options.items() if name != "device"})

    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "new_empty", new_empty)


def test_words_without_a_gpu(no_gpu):
    assert choose_device("auto") == choose_device("cpu") == CPU
    for word in ("cuda", "cuda:0"):
        with pytest.raises(InputError, match=f"device is '{word}', which cannot be used: torch sees no CUDA device"):
            choose_device(word)


def test_words_with_two_gpus(two_gpus):
    assert choose_device("cpu") == CPU
    assert choose_device("auto") == choose_device("cuda") == choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(InputError, match="'cuda:7', which does not exist: there are 2 CUDA devices, from cuda:0 on"):
        choose_device("cuda:7")


@pytest.mark.parametrize(
    "word", ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cpu:0", "auto:1", "mps", "cuda:0\n"]
)
def test_unknown_words(word, two_gpus):
    with pytest.raises(InputError, match="expected auto, cpu, cuda or cuda:0"):
        choose_device(word)


def test_bad_device_is_told_before_any_work(no_gpu, capsys, tmp_path):
    arguments = ["transfer", str(tmp_path / "absent"), str(tmp_path / "absent"), "-o", str(tmp_path / "out")]
    assert cli.run([*arguments, "--device", "cuda:1"]) == 2
    assert "device is 'cuda:1', which cannot be used: torch sees no CUDA device" in capsys.readouterr().err
    assert cli.run([*arguments, "--device", "tpu"]) == 2
    assert "device is 'tpu', expected auto, cpu, cuda" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_step_runs_where_it_is_placed(two_gpus):
    placement = Placement(torch.device("cuda", 1))
    assert placement.run("step", str, needed=8 * GIB) == "cuda:1"
    assert Placement().run("step", str, needed=1 << 60) == "cpu"
    assert placement.ran == {"step": "cuda:1 (made up)"}
    assert not placement.warnings


def test_too_little_memory_before(two_gpus):
    placement = Placement(torch.device("cuda", 1))
    assert placement.run("first", str, needed=GIB) == "cuda:1"
    assert [placement.run(name, str, needed=9 * GIB) for name in ("second", "third")] == ["cpu", "cpu"]
    assert placement.ran == {"first": "cuda:1 (made up)", "second": "cpu", "third": "cpu"}
    (warning,) = placement.warnings
    assert warning == (
        "cuda:1 is short of memory: the second needs about 9.66 GB, 8.59 GB is free; the CPU does it and what follows"
    )


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("out of memory (2) from cudaMallocAsync at somewhere"),
        RuntimeError(
            'torch_call_dispatcher( "aten::new_empty", "", stack.data(), 0) API call failed at ops.h, line 939'
        ),
    ],
)
def test_too_little_memory_while_running(error, two_gpus):
    seen = []

    def work(where):
        seen.append(str(where))
        if where.type == "cuda":
            raise error
        return 7

    placement = Placement(torch.device("cuda", 0))
    assert placement.run("step", work, needed=GIB) == 7
    assert seen == ["cuda:0", "cpu"]
    assert placement.ran == {"step": "cpu"}
    assert placement.run("next", work, needed=0) == 7
    (warning,) = placement.warnings
    assert "the step needs more than 8.59 GB, 8.59 GB is free" in warning


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        InputError("queries: found NaN"),
        KeyError("rows"),
    ],
)
def test_other_errors_are_not_hidden(error, two_gpus):
    def work(where):
        raise error

    placement = Placement(torch.device("cuda", 0))
    with pytest.raises(type(error)) as caught:
        placement.run("step", work, needed=0)
    assert caught.value is error
    assert not placement.ran


def test_a_broken_device_is_not_taken_for_a_full_one(two_gpus, monkeypatch):
    """After a kernel that failed, allocations fail too; waiting for the device tells why."""

    def broken(where):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def work(where):
        raise RuntimeError('torch_call_dispatcher( "aten::new_empty", "") API call failed')

    monkeypatch.setattr(torch.cuda, "synchronize", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        Placement(torch.device("cuda", 0)).run("step", work, needed=0)


def test_only_used_rows_move(monkeypatch):
    monkeypatch.setattr(device, "_BLOCK_BYTES", 40)
    table, rows = torch.randn(9, 3), torch.tensor([7, 1, 7, 4, 8, 1])
    moved, places = move_used_rows(table, rows, CPU)
    assert torch.equal(moved, table[[1, 4, 7, 8]])
    assert torch.equal(moved[places], table[rows])
    nothing, places = move_used_rows(table, rows[:0], CPU)
    assert nothing.shape == (0, 3)
    assert len(places) == 0


# A map of all anchors, corrected by regressions, rows scaled: every step that can run on a device.
MAPPED = {"ridge": 3.0, "similarity": "mean", "global_ridge": 1.0, "norms": "factor", "drop_anchors": "undertrained"}


def files(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "salt_report.json"}


def test_transfer_on_a_gpu(two_gpus, moves_go_nowhere, monkeypatch, untied_source, donor, tmp_path, capsys):
    """Other blocks, moved tables: the same bytes, since what is made up computes as the CPU does."""
    plain = salt_ext.transfer(untied_source, donor, tmp_path / "plain", method="salt", device="cpu")
    assert plain.report["machine"]["ops_ran_on"] == {"regression": "cpu", "weighted sums": "cpu"}
    monkeypatch.setitem(method._BLOCK, "cuda", 37)
    arguments = ["transfer", untied_source, donor, "-o", tmp_path / "moved", "--method", "salt", "--device", "cuda:0"]
    assert cli.run([str(argument) for argument in arguments]) == 0
    assert "s on cuda:0 (made up), peak memory" in " ".join(capsys.readouterr().out.split())
    report = json.loads((tmp_path / "moved" / "salt_report.json").read_text(encoding="utf-8"))
    assert report["options"]["device"] == "cuda:0"
    assert set(report["machine"]["ops_ran_on"].values()) == {"cuda:0 (made up)"}
    assert report["warnings"] == plain.report["warnings"]
    assert files(tmp_path / "moved") == files(tmp_path / "plain")


def test_all_of_a_mapped_salt_runs_on_the_gpu(
    two_gpus, moves_go_nowhere, monkeypatch, untied_source, donor, word_vectors, tmp_path
):
    """The map of all anchors and what leaves anchors out, too: each says where it ran."""
    options = {"aux": f"vectors:{word_vectors[0]}", "method_options": MAPPED}
    plain = salt_ext.transfer(untied_source, donor, tmp_path / "cpu", method="salt", device="cpu", **options)
    begun, to = [], torch.Tensor.to
    run, taken = Placement._run, {}

    def note_step(placement, step, work):
        begun.append(step)
        return run(placement, step, work)

    def note_move(tensor, *arguments, **more):
        if any(isinstance(value, torch.device) and value.type == "cuda" for value in arguments):
            taken[begun[-1]] = taken.get(begun[-1], 0) + tensor.numel()
        return to(tensor, *arguments, **more)

    monkeypatch.setattr(Placement, "_run", note_step)
    monkeypatch.setattr(torch.Tensor, "to", note_move)
    moved = salt_ext.transfer(untied_source, donor, tmp_path / "cuda", method="salt", device="cuda", **options)
    steps = {"anchor filter", "global map", "regression", "weighted sums"}
    assert plain.report["machine"]["ops_ran_on"] == dict.fromkeys(steps, "cpu")
    assert moved.report["machine"]["ops_ran_on"] == dict.fromkeys(steps, "cuda:1 (made up)")
    assert moved.report["warnings"] == plain.report["warnings"]
    assert files(moved.output) == files(plain.output)
    # Tables of what is kept: it is the rows that move, not what comes of them.
    rows = moved.report["anchors"]["by_class"]["exact"] * 32
    assert all(taken[step] >= rows // 3 for step in steps)


@pytest.mark.parametrize("step", ["anchor filter", "global map"])
def test_a_mapped_salt_falls_back_with_one_warning(
    step, two_gpus, moves_go_nowhere, monkeypatch, source, donor, word_vectors, tmp_path
):
    """From the step on for which memory is short, on the CPU; those before stay where they ran."""
    options = {"method": "salt", "method_options": MAPPED, "aux": f"vectors:{word_vectors[0]}"}
    plain = salt_ext.transfer(source, donor, tmp_path / "plain", device="cpu", **options)
    run = Placement.run

    def short_at(placement, name, work, *, needed):
        return run(placement, name, work, needed=9 * GIB if name == step else needed)

    monkeypatch.setattr(Placement, "run", short_at)
    moved = salt_ext.transfer(source, donor, tmp_path / "moved", device="cuda", **options)
    ran = moved.report["machine"]["ops_ran_on"]
    order = ["anchor filter", "global map", "regression", "weighted sums"]
    assert list(ran) == order
    first = order.index(step)
    assert [where == "cpu" for where in ran.values()] == [place >= first for place in range(4)]
    (warning,) = [text for text in moved.report["warnings"] if text not in plain.report["warnings"]]
    assert warning.startswith(f"cuda:1 is short of memory: the {step} needs about 9.66 GB, 8.59 GB is free; the CPU ")
    assert files(moved.output) == files(plain.output)


@pytest.mark.parametrize("short", ["before", "while running"])
def test_transfer_falls_back(short, two_gpus, moves_go_nowhere, monkeypatch, source, donor, tmp_path):
    plain = salt_ext.transfer(source, donor, tmp_path / "plain", method="salt", device="cpu")
    if short == "before":
        monkeypatch.setattr(device, "free_memory", lambda where: 1000)
    else:
        sums, calls = ops.csr_matmul, iter(range(100))

        def full_at_first(*arguments):
            if next(calls) == 0:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return sums(*arguments)

        monkeypatch.setattr(ops, "csr_matmul", full_at_first)
    moved = salt_ext.transfer(source, donor, tmp_path / "moved", method="salt", device="auto")
    assert set(moved.report["machine"]["ops_ran_on"].values()) == {"cpu"}
    (warning,) = [text for text in moved.report["warnings"] if text not in plain.report["warnings"]]
    assert warning.startswith("cuda:1 is short of memory: the regression needs ")
    assert files(moved.output) == files(plain.output)


@pytest.mark.skipif(not salt_ext.backends()["cuda"].available, reason="needs CUDA")
@pytest.mark.parametrize("method", ["salt", "salt-plus"])
def test_transfer_on_a_real_gpu(method, source, donor, word_vectors, tmp_path):
    """The same rows are copied and sampled, the same neighbours chosen; sums differ by rounding."""
    aux = f"vectors:{word_vectors[0]}"
    on_cpu, on_gpu = (
        salt_ext.transfer(source, donor, tmp_path / name, method=method, aux=aux, device=name)
        for name in ("cpu", "cuda")
    )
    assert all(where.startswith("cuda:") for where in on_gpu.report["machine"]["ops_ran_on"].values())
    assert torch.equal(on_cpu.plan.col_indices, on_gpu.plan.col_indices)
    assert torch.equal(on_cpu.plan.crow_indices, on_gpu.plan.crow_indices)
    old, new = (
        load_file(result.output / "model.safetensors")["model.embed_tokens.weight"].double()
        for result in (on_cpu, on_gpu)
    )
    assert bool(((new - old).norm(dim=1) <= 1e-4 * old.norm(dim=1)).all())
    regressed = TransferPlan.load(on_gpu.output / "salt_plan.safetensors").provenance == 1
    assert torch.equal(old[~regressed], new[~regressed])
