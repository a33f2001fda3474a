"""The demonstration with a budget of seconds."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import AutoModelForCausalLM, AutoTokenizer

from salt_ext.cli.demo import print_demonstration
from salt_ext.comparison import demo
from salt_ext.comparison.demo import Demonstration
from salt_ext.comparison.demo.models import Size
from salt_ext.comparison.demo.run import Budget
from salt_ext.errors import OutputError

pytestmark = pytest.mark.slow

BUDGET = Budget(
    train_bytes=50_000,
    held_out_bytes=5_000,
    target_share=0.05,
    source=Size(vocabulary=600, hidden=32, layers=1, steps=4, tokens_per_step=256, context=32, lr=1e-2),
    donor=Size(vocabulary=500, hidden=64, layers=1, steps=4, tokens_per_step=256, context=32, lr=1e-2),
    adapt=8192,
    lr=1e-2,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Demonstration]:
    folder = tmp_path_factory.mktemp("demo") / "kept"
    return folder, demo.run(folder, seed=7, progress=False, budget=BUDGET)


def test_every_model_opens(finished: tuple[Path, Demonstration]) -> None:
    folder, made = finished
    assert made.transferred.output == folder / "moved"
    for name in ("source", "donor", "moved"):
        tokenizer = AutoTokenizer.from_pretrained(folder / name)
        model = AutoModelForCausalLM.from_pretrained(folder / name)
        inputs = tokenizer("def main(argv):\n    return", return_tensors="pt", return_token_type_ids=False)
        written = model.generate(**inputs, max_new_tokens=3, do_sample=False, eos_token_id=None)
        assert written.shape[1] == inputs["input_ids"].shape[1] + 3
        assert tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=True) == "def main(argv):\n    return"


def test_figures(finished: tuple[Path, Demonstration]) -> None:
    folder, made = finished
    rows = {row.method: row for row in made.comparison.rows}
    assert list(rows) == ["salt-plus", "salt", "mean", "random"]
    for row in rows.values():
        before, after = row.mean("bits_per_byte"), row.mean("bits_per_byte_adapted")
        assert 0 < after < before < 20
    table = json.loads((folder / "comparison" / "table.json").read_text())
    assert table["anchors"] + table["new_tokens"] <= 500 == made.transferred.report["rows"]["total"]
    screen = Console(file=io.StringIO(), width=160)
    print_demonstration(made, screen)
    printed = screen.file.getvalue()  # type: ignore[attr-defined]
    for row in rows.values():
        assert f"{row.mean('bits_per_byte'):.3f}" in printed
    assert f"{made.code:,} bytes of code" in printed.replace("\n", " ")


def test_the_same_seed_gives_the_same_figures_and_nothing_stays(
    finished: tuple[Path, Demonstration], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    usual = torch.get_num_threads()
    state = torch.get_rng_state()
    again = demo.run(None, seed=7, progress=False, budget=BUDGET)
    for key in ("bits_per_byte", "bits_per_byte_adapted"):
        found = [[row.mean(key) for row in made.comparison.rows] for made in (again, finished[1])]
        assert found[0] == found[1]
    assert torch.get_num_threads() == usual
    assert torch.equal(torch.get_rng_state(), state)
    assert list(tmp_path.iterdir()) == []


def test_bad_input(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    with pytest.raises(OutputError, match="is not empty"):
        demo.run(tmp_path, progress=False, budget=BUDGET)
    with pytest.raises(OutputError, match="cannot be used"):
        demo.run(tmp_path / "something" / "below", progress=False, budget=BUDGET)
