"""A training from a model folder and a text to a trained folder: what moves, what stays, what is told."""

from __future__ import annotations

import json
import math
from hashlib import sha256
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

pytest.importorskip("accelerate", reason="transformers' Trainer needs accelerate")
pytest.importorskip("datasets", reason="texts are streamed by datasets")

import salt_ext
from salt_ext import cli
from salt_ext.adaptation import trainer
from salt_ext.errors import InputError, OutputError
from salt_ext.evaluation import bits_per_byte

from .conftest import CONTEXT, ROWS, TINY, byte_tokenizer, figures, save_moved

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def cache(tmp_path_factory):
    return tmp_path_factory.getbasetemp() / "adaptation-cache"


def test_two_phases_end_to_end(moved, text, source_text, tmp_path, cache):
    """Every figure that is told against one that is made here, from the files alone."""
    told: list[str] = []
    options = TINY | {"source_text": [source_text], "replay": 0.25, "cache": cache, "log": told.append}
    torch.manual_seed(11)
    drawn = torch.rand(1)
    torch.manual_seed(11)
    result = salt_ext.adapt_model(moved, [text], tmp_path / "out", **options)
    assert torch.equal(torch.rand(1), drawn)  # the caller's own random numbers
    assert not (tmp_path / "out.unfinished").exists()

    lines = result.curve
    assert [json.loads(line) for line in (tmp_path / "out" / "salt_curve.jsonl").read_text().splitlines()] == lines
    losses = [line for line in lines if "loss" in line]
    assert [line["tokens"] for line in losses] == [64 * n for n in range(1, 9)]
    assert [line["trains"] for line in losses] == ["vocabulary"] * 3 + ["all"] * 5
    measured = [(line["phase"], line["step"]) for line in lines if "bits_per_byte" in line]
    assert measured == [(1, 0), (1, 2), (1, 3), (2, 2), (2, 4), (2, 5)]
    assert len(told) == len(measured)
    # A tenth of five steps is no warm-up: a cosine from the highest rate.
    rates = [line["learning_rate"] for line in losses if line["phase"] == 2]
    assert rates == pytest.approx([0.01 * (1 + math.cos(math.pi * n / 5)) for n in range(5)])

    held_out = [line for line in text.read_text().splitlines() if kept_to_measure(line)]
    before, after = (AutoModelForCausalLM.from_pretrained(folder) for folder in (moved, tmp_path / "out"))
    report = result.report
    for model, told_of in ((before, report["before"]), (after, report["after"])):
        figure = bits_per_byte(model, byte_tokenizer(), held_out, context=CONTEXT)
        assert told_of["bits_per_byte"] == pytest.approx(figure, rel=1e-5)
    assert report["after"]["bits_per_byte"] < 0.8 * report["before"]["bits_per_byte"]
    assert report["after"]["source_bits_per_byte"] < report["before"]["source_bits_per_byte"]  # a quarter is replayed
    if find_spec("matplotlib") is not None:
        assert (tmp_path / "out" / "salt_curve.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "out" / "salt_adaptation.json").read_text()) == report
    for name in ("config.json", "salt_plan.safetensors", "tokenizer.json"):
        same = [(folder / name).read_bytes() for folder in (moved, tmp_path / "out")]
        assert json.loads(same[0]) == json.loads(same[1]) if name == "config.json" else same[0] == same[1]


def kept_to_measure(line: str) -> bool:
    """One in fifty, by its hash."""
    return int(sha256(line.encode()).hexdigest()[:16], 16) * 50 < 2**64


@pytest.mark.slow
def test_the_first_phase_moves_tables_alone(tmp_path, text, cache):
    moved = save_moved(tmp_path / "untied", tied=False, dtype=torch.bfloat16)
    options = TINY | {"phases": "vocabulary=256", "cache": cache}
    salt_ext.adapt_model(moved, [text], tmp_path / "out", **options)
    old, new = (load_file(folder / "model.safetensors") for folder in (moved, tmp_path / "out"))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"model.embed_tokens.weight", "lm_head.weight"}
    assert {tensor.dtype for tensor in new.values()} == {torch.bfloat16}


@pytest.mark.slow
def test_the_curve_for_tensorboard(moved, text, tmp_path, cache):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="on request")
    result = salt_ext.adapt_model(moved, [text], tmp_path / "out", **TINY, cache=cache, tensorboard=tmp_path / "board")
    for number, name in enumerate(("1-vocabulary", "2-all"), 1):
        read = events.EventAccumulator(str(tmp_path / "board" / name))
        read.Reload()
        lines = [line for line in result.curve if line["phase"] == number and "bits_per_byte" in line]
        told = [(event.step, pytest.approx(event.value)) for event in read.Scalars("train/bits_per_byte")]
        assert told == [(line["step"], line["bits_per_byte"]) for line in lines]


@pytest.mark.slow
def test_sharding_that_accelerate_would_leave_out_is_refused(moved, text, tmp_path, cache, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(InputError, match="FSDP is asked for, but accelerate has none for cpu"):
        salt_ext.adapt_model(moved, [text], tmp_path / "out", **TINY, cache=cache)
    with pytest.raises(InputError, match="phase rows trains by peft, which FSDP cannot shard here"):
        salt_ext.adapt_model(moved, [text], tmp_path / "other", **TINY | {"phases": "rows=64"}, cache=cache)


@pytest.mark.slow
def test_figures_that_are_not_finite_end_it(moved, text, tmp_path, cache, monkeypatch):
    """The loss of step 3 is nan: what was saved behind step 2 is kept, and named."""
    step = trainer.PhaseTrainer.training_step

    def broken(self, *args, **options):
        loss = step(self, *args, **options)
        return loss * float("nan") if self.state.global_step == 2 else loss

    with monkeypatch.context() as patched:
        patched.setattr(trainer.PhaseTrainer, "training_step", broken)
        with pytest.raises(
            InputError, match=r"loss = nan at step 3 of phase 1 .*last good checkpoint is .*checkpoint-2"
        ):
            salt_ext.adapt_model(moved, [text], tmp_path / "out", **TINY, cache=cache)
    assert not (tmp_path / "out").exists()
    kept = load_file(tmp_path / "out.unfinished" / "phase-1" / "checkpoint-2" / "model.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in kept.values())
    with pytest.raises(OutputError, match=r"unfinished training of other inputs \(config, options\)"):
        salt_ext.adapt_model(moved, [text], tmp_path / "out", **TINY | {"lr": 1e-3}, cache=cache)


@pytest.mark.slow
def test_a_disk_that_is_full_costs_no_checkpoint(moved, text, tmp_path, cache, monkeypatch):
    """The optimizer's state of phase 2's second checkpoint cannot be written; the first one is gone on behind."""
    whole = tmp_path / "whole"
    salt_ext.adapt_model(moved, [text], whole, **TINY, cache=cache)
    save, calls = torch.save, []

    def full(what, place, *args, **options):
        calls.append(place)
        if str(place).endswith("optimizer.pt") and "phase-2/checkpoint-4" in str(place):
            with open(place, "wb") as half:
                half.write(b"half")
            raise RuntimeError("PytorchStreamWriter failed writing file data.pkl: file write failed")
        return save(what, place, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", full)
        with pytest.raises(OutputError, match=r"checkpoint of step 4 cannot be written.*good checkpoint is .*-2$"):
            salt_ext.adapt_model(moved, [text], tmp_path / "out", **TINY, cache=cache)
    assert calls
    assert [path.name for path in (tmp_path / "out.unfinished" / "phase-2").iterdir()] == ["checkpoint-2"]
    salt_ext.adapt_model(moved, [text], tmp_path / "out", **TINY, cache=cache)
    assert figures(tmp_path / "out") == figures(whole)


@pytest.mark.slow
def test_an_interruption_says_how_to_go_on(moved, text, tmp_path, cache, monkeypatch, capsys):
    arguments = ["adapt", str(moved), "--text", str(text), "-o", str(tmp_path / "out"), "--phases", TINY["phases"]]
    arguments += ["--tokens-per-step", "64", "--context", "16", "--cache", str(cache)]
    record = trainer.Recorder.on_step_end

    def interrupted(self, args, state, control, **rest):
        record(self, args, state, control, **rest)
        if state.global_step == 3 and "phase-2" in args.output_dir:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(trainer.Recorder, "on_step_end", interrupted)
        assert cli.run(arguments) == 130
    said = " ".join(capsys.readouterr().err.split())
    assert f"checkpoints are kept in {tmp_path / 'out'}.unfinished: the same command goes on" in said
    assert cli.run(arguments) == 0
    told = capsys.readouterr()
    assert "going on with the training" in told.err
    assert "phase 1" not in told.err
    assert "new language" in told.out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"phases": "all=63"}, "phase all has 63 tokens, fewer than one step of 64"),
        ({"context": 64}, "context is 64, but the model reads at most 32 tokens at once"),
        ({"config": {"learning_rate": 0.1}}, "lr is 0.02, and config has learning_rate"),
        ({"config": {"save_stps": 1}}, "did you mean save_steps"),
        ({"phases": "all=99999", "tokens_per_step": 99984}, "text fills [0-9]+ windows .* fewer than the 6249 of one"),
    ],
)
def test_what_cannot_be_trained_is_refused(moved, text, tmp_path, cache, changes, said):
    with pytest.raises(InputError, match=said):
        salt_ext.adapt_model(moved, [text], tmp_path / "out", **{**TINY, **changes}, cache=cache)
    assert not list(tmp_path.iterdir())


def test_models_that_cannot_be_trained_are_refused(moved, text, tmp_path, cache):
    with pytest.raises(OutputError, match="must lie apart from the model"):
        salt_ext.adapt_model(moved, [text], moved / "out", **TINY, cache=cache)
    narrow = save_moved(tmp_path / "narrow")
    model = AutoModelForCausalLM.from_pretrained(narrow)
    model.resize_token_embeddings(ROWS - 10).requires_grad_(False)
    model.save_pretrained(narrow)
    with pytest.raises(
        InputError, match=r"model: 8 token ids have no row in the embedding table of 250 rows: 250, 251"
    ):
        salt_ext.adapt_model(narrow, [text], tmp_path / "out", **TINY, cache=cache)


def test_rows_of_new_tokens_are_known_from_a_plan_alone(text, tmp_path, cache):
    pytest.importorskip("peft")
    save_moved(tmp_path / "again")
    (tmp_path / "again" / "salt_plan.safetensors").unlink()
    with pytest.raises(InputError, match=r"phase rows trains the rows of new tokens, but .* has no salt_plan"):
        salt_ext.adapt_model(tmp_path / "again", [text], tmp_path / "out", **TINY | {"phases": "rows=64"}, cache=cache)
