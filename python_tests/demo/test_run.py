"""The demonstration with a budget of seconds: the arms differ in the new tokens' rows and in nothing else."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from salt_ext import demo
from salt_ext.demo.arms import Settings
from salt_ext.demo.models import Size
from salt_ext.demo.run import Budget
from salt_ext.errors import InputError, OutputError
from salt_ext.plan import Provenance, TransferPlan

pytestmark = pytest.mark.slow

TABLE = "model.embed_tokens.weight"
BUDGET = Budget(
    train_bytes=50_000,
    held_out_bytes=5_000,
    target_share=0.05,
    source=Size(vocabulary=600, hidden=32, layers=1, steps=4, tokens_per_step=256, context=32, lr=1e-2),
    donor=Size(vocabulary=500, hidden=64, layers=1, steps=4, tokens_per_step=256, context=32, lr=1e-2),
    adaptation=Settings(steps=3, tokens_per_step=256, lr=1e-2, context=32),
)


def run(folder: Path | None, **options: Any) -> tuple[dict[str, Any], str]:
    console = Console(file=io.StringIO(), width=100)
    result = demo.run(folder, console=console, budget=BUDGET, **options)
    return result, console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    folder = tmp_path_factory.mktemp("demo") / "kept"
    result, printed = run(folder, seed=7, threads=3)
    return folder, result, printed


def test_arms_differ_in_new_rows_only(finished: tuple[Path, dict[str, Any], str]) -> None:
    folder = finished[0]
    plan = TransferPlan.load(folder / "salt" / "salt_plan.safetensors")
    copied = plan.rows(Provenance.COPIED)
    new = (plan.provenance != Provenance.COPIED).nonzero()[:, 0]
    assert len(copied) > 256
    assert len(new) > 50
    source = load_file(folder / "source" / "model.safetensors")
    arms = {name: load_file(folder / name / "model.safetensors") for name in ("random", "mean", "salt")}
    for tensors in arms.values():
        assert tensors.keys() == source.keys()
        assert all(torch.equal(tensors[name], source[name]) for name in source if name != TABLE)
        assert torch.equal(tensors[TABLE][copied], source[TABLE][plan.col_indices[plan.crow_indices[copied]]])
    tables = [tensors[TABLE][new] for tensors in arms.values()]
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert bool((tables[one] != tables[two]).any(dim=1).all())


def test_controls_are_what_they_are_called(finished: tuple[Path, dict[str, Any], str]) -> None:
    folder = finished[0]
    provenance = TransferPlan.load(folder / "salt" / "salt_plan.safetensors").provenance
    new = provenance != Provenance.COPIED
    source = load_file(folder / "source" / "model.safetensors")[TABLE].double()
    mean = load_file(folder / "mean" / "model.safetensors")[TABLE][new].double()
    assert torch.allclose(mean, source.mean(0).expand_as(mean), rtol=0, atol=1e-7)
    random = load_file(folder / "random" / "model.safetensors")[TABLE][new].double()
    # Standardised, the draws have mean 0 and variance 1 within five standard errors.
    z = (random - source.mean(0)) / source.std(0, correction=0)
    assert abs(z.mean().item()) < 5 / z.numel() ** 0.5
    assert abs(z.var().item() - 1) < 5 * (2 / z.numel()) ** 0.5
    for name in ("random", "mean"):
        plan = TransferPlan.load(folder / name / "salt_plan.safetensors")
        assert torch.equal(plan.provenance != Provenance.COPIED, new)
        assert plan.metadata["method"] == name


def test_every_model_opens(finished: tuple[Path, dict[str, Any], str]) -> None:
    folder = finished[0]
    for name in ("source", "donor", "random", "mean", "salt"):
        tokenizer = AutoTokenizer.from_pretrained(folder / name)
        model = AutoModelForCausalLM.from_pretrained(folder / name)
        inputs = tokenizer("def main(argv):\n    return", return_tensors="pt", return_token_type_ids=False)
        made = model.generate(**inputs, max_new_tokens=3, do_sample=False, eos_token_id=None)
        assert made.shape[1] == inputs["input_ids"].shape[1] + 3
        assert tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=True) == "def main(argv):\n    return"


def test_figures(finished: tuple[Path, dict[str, Any], str]) -> None:
    folder, result, printed = finished
    assert json.loads((folder / "demo.json").read_text()) == result
    assert [arm["name"] for arm in result["arms"]] == ["random", "mean", "SALT"]
    before = [arm["bits_per_byte"] for arm in result["arms"]]
    after = [arm["bits_per_byte_adapted"] for arm in result["arms"]]
    assert len({*before, *after}) == 6
    assert all(0 < figure < 20 for figure in before + after)
    assert sum(after) < sum(before)
    # The arms read the same tokens; the source's own tokenizer reads others of the same text.
    assert len({(arm["tokens"], arm["bytes"]) for arm in result["arms"]}) == 1
    assert {entry["bytes"] for entry in result["references"]} == {result["arms"][0]["bytes"]}
    assert result["references"][0]["tokens"] != result["arms"][0]["tokens"]
    assert all(entry["documents_altered_by_the_tokenizer"] == 0 for entry in result["arms"] + result["references"])
    assert result["rows"]["total"] == 500
    assert result["rows"]["copied"] == result["anchors"]["total"]
    for arm in result["arms"]:
        assert f"{arm['bits_per_byte']:.3f}" in printed
        assert f"{arm['bits_per_byte_adapted']:.3f}" in printed
    assert str(folder) in printed.replace("\n", "")


def test_the_same_seed_gives_the_same_figures_with_any_threads_and_nothing_stays(
    finished: tuple[Path, dict[str, Any], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    usual = torch.get_num_threads()
    state = torch.get_rng_state()
    result, printed = run(None, seed=7, threads=1)
    assert result["arms"] == finished[1]["arms"]
    assert result["references"] == finished[1]["references"]
    assert torch.get_num_threads() == usual
    assert torch.equal(torch.get_rng_state(), state)
    assert list(tmp_path.iterdir()) == []
    assert "--output" in printed


def test_bad_input(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(OutputError, match="is not empty"):
        run(tmp_path)
    with pytest.raises(OutputError, match="cannot be used"):
        run(tmp_path / "something" / "below")
    with pytest.raises(InputError, match="threads is 0"):
        run(tmp_path / "new", threads=0)
    assert not (tmp_path / "new").exists()
