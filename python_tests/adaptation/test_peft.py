"""Trainings by peft: new rows alone, and adapters on the body with whole tables; merged, and as they are."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

pytest.importorskip("peft", reason="adapters are peft's")
pytest.importorskip("datasets", reason="texts are streamed by datasets")

import peft

import salt_ext
from salt_ext.plan import Provenance, TransferPlan

from .conftest import ROWS, TINY, figures, save_moved

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

BOTH = "vocabulary=192,all=512"


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def model(request, tmp_path):
    return save_moved(tmp_path / "moved", tied=request.param)


@pytest.fixture
def adapt(model, text, tmp_path):
    def call(name, **changes):
        options = TINY | {"cache": tmp_path / "cache"} | changes
        return salt_ext.adapt_model(model, [text], tmp_path / name, **options)

    return call


def test_new_rows_alone(model, adapt, tmp_path):
    """Every other number of the model stays bit for bit; in every table all new rows that the text reaches move."""
    result = adapt("out", phases="rows=512")
    old, new = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "out"))
    is_new = TransferPlan.load(model / "salt_plan.safetensors").provenance == Provenance.REGRESSED
    tables = {name for name in old if old[name].shape[0] == ROWS}
    assert {name for name in old if not torch.equal(old[name], new[name])} == tables
    for name in tables:
        moved = (old[name] != new[name]).any(1)
        assert not bool(moved[~is_new].any())
        assert int(moved.sum()) > 1
    assert result.report["after"]["bits_per_byte"] < result.report["before"]["bits_per_byte"]
    assert result.report["bits_per_byte_saved"] == pytest.approx(result.report["after"]["bits_per_byte"], rel=1e-5)


def test_adapters_on_the_body_and_whole_tables(model, adapt, tmp_path):
    """What is merged is what peft itself makes of the model and the adapters."""
    whole = adapt("merged", phases=BOTH, lora=3)
    alone = adapt("adapters", phases=BOTH, lora=3, adapters=True)
    assert whole.curve[-1]["bits_per_byte"] == alone.curve[-1]["bits_per_byte"]
    old, new = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "merged"))
    assert old.keys() == new.keys()
    for name in old:
        change = new[name] - old[name]
        if old[name].shape[0] == ROWS:
            assert int(change.any(1).sum()) > 3  # whole tables, not three dimensions of them
            assert int(torch.linalg.matrix_rank(change, rtol=1e-3)) > 3
        elif change.ndim == 2:
            assert 1 <= int(torch.linalg.matrix_rank(change, rtol=1e-3)) <= 3
        else:
            assert not bool(change.any())
    assert not (tmp_path / "adapters" / "model.safetensors").exists()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    based = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapters")
    ids = torch.arange(24)[None]
    with torch.no_grad():
        torch.testing.assert_close(based(ids).logits, merged(ids).logits, rtol=1e-4, atol=1e-5)


def test_adapters_go_on_to_the_same_figures(adapt, tmp_path, monkeypatch):
    from salt_ext.adaptation.trainer import Recorder

    adapt("whole", phases=BOTH, lora=3)
    record = Recorder.on_step_end

    def interrupted(self, args, state, control, **rest):
        record(self, args, state, control, **rest)
        if state.global_step == 5 and "phase-2" in args.output_dir:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Recorder, "on_step_end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            adapt("cut", phases=BOTH, lora=3)
    adapt("cut", phases=BOTH, lora=3)
    assert figures(tmp_path / "cut") == figures(tmp_path / "whole")
    same = [load_file(tmp_path / name / "model.safetensors") for name in ("cut", "whole")]
    assert all(torch.equal(tensor, same[1][name]) for name, tensor in same[0].items())
