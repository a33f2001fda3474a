"""From a moved model to one whose new rows have learned, on tiny models; what a small model learns says nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from typer.testing import CliRunner

import salt_ext
from salt_ext.cli.app import app
from salt_ext.errors import InputError, OutputError
from salt_ext.plan import Provenance, TransferPlan

from .conftest import ONLY_TARGET, SHARED, text_of

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL: dict[str, Any] = {"tokens": 1500, "chunks": 1, "tokens_per_step": 500, "context": 64, "device": "cpu"}


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> list[Path]:
    file = tmp_path_factory.mktemp("text") / "new.txt"
    file.write_text("\n".join(text_of(SHARED + ONLY_TARGET, 31)), encoding="utf-8")
    return [file]


@pytest.fixture(scope="module")
def moved(tmp_path_factory, source, donor) -> Path:
    folder = tmp_path_factory.mktemp("moved")
    return salt_ext.transfer(source, donor, folder / "model", method="subword").output


@pytest.fixture(scope="module")
def moved_untied(tmp_path_factory, untied_source, donor) -> Path:
    folder = tmp_path_factory.mktemp("moved")
    return salt_ext.transfer(untied_source, donor, folder / "model", method="subword").output


@pytest.fixture(scope="module")
def taught(moved, source, text, tmp_path_factory) -> salt_ext.DistillResult:
    return salt_ext.distill(moved, tmp_path_factory.mktemp("taught") / "model", teacher=source, text=text, **SMALL)


@pytest.fixture(scope="module")
def taught_untied(moved_untied, untied_source, text, tmp_path_factory) -> salt_ext.DistillResult:
    output = tmp_path_factory.mktemp("taught") / "model"
    return salt_ext.distill(moved_untied, output, teacher=untied_source, text=text, **SMALL)


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    files = [file for file in folder.glob("model*.safetensors")]
    return {name: value for file in files for name, value in safetensors.torch.load_file(file).items()}


def test_only_rows_of_new_tokens_learn(moved, taught, text):
    before, after = tensors_of(moved), tensors_of(taught.output)
    assert before.keys() == after.keys()
    table = "model.embed_tokens.weight"
    assert all(torch.equal(before[name], after[name]) for name in before.keys() - {table})
    changed = set((before[table] != after[table]).any(dim=1).nonzero()[:, 0].tolist())
    tokenizer = transformers.AutoTokenizer.from_pretrained(moved)
    lines = text[0].read_text(encoding="utf-8").splitlines()
    held = {token for line in lines for token in tokenizer(line, add_special_tokens=False)["input_ids"]}
    kinds = TransferPlan.load(moved / "salt_plan.safetensors").provenance
    new = set(((kinds != Provenance.COPIED) & (kinds != Provenance.PADDING)).nonzero()[:, 0].tolist())
    assert changed == new
    dense = taught.plan.dense
    read = set(dense.rows[dense.snippets > 0].tolist())
    assert read <= held
    # Half of so short a text is held out, and a part of the rest is read.
    assert len(read) > 0.5 * len(new & held)
    found = taught.report["distillation"]
    assert found["rows"] == {"learned": len(read), "unreached": len(new - read)}
    assert {number for number, _ in found["unreached_tokens"]} == new - read
    # The others have what is common alone: an affine map of rank 32 of what they were.
    others = dense.snippets == 0
    assert torch.linalg.matrix_rank(dense.input[others].double(), rtol=1e-5) <= 33
    assert torch.linalg.matrix_rank(dense.input.double(), rtol=1e-5) > 33


@pytest.mark.parametrize("result", ["taught", "taught_untied"])
def test_the_plan_makes_the_folder_from_the_source(result, request):
    found = request.getfixturevalue(result)
    folder = request.getfixturevalue("source" if result == "taught" else "untied_source")
    old, new = tensors_of(folder), tensors_of(found.output)
    plan = TransferPlan.load(found.output / "salt_plan.safetensors")
    assert torch.equal(plan.apply(old["model.embed_tokens.weight"]), new["model.embed_tokens.weight"])
    if "lm_head.weight" in old:
        assert torch.equal(plan.apply(old["lm_head.weight"], head=True), new["lm_head.weight"])
        assert plan.dense is not None
        assert plan.dense.head is not None
        assert not torch.equal(plan.dense.head, plan.dense.input)


def test_a_sibling_of_the_source_takes_the_same_differences(taught, source):
    table = tensors_of(source)["model.embed_tokens.weight"].double()
    sibling = table + 0.1 * torch.randn(table.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    plan = taught.plan
    without = TransferPlan.load(taught.output / "salt_plan.safetensors")
    object.__setattr__(without, "dense", None)
    first, second = (plan.apply(each) - without.apply(each) for each in (table, sibling))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)
    torch.testing.assert_close(first[plan.dense.rows], plan.dense.input.double(), rtol=0, atol=1e-12)


def test_states_come_closer_to_the_teachers(moved_untied, untied_source, text, tmp_path):
    options = SMALL | {"tokens": 12000, "chunks": 0, "next_token": 0, "states": 1, "layer": 1}
    found = salt_ext.distill(moved_untied, tmp_path / "out", teacher=untied_source, text=text, **options)
    curve = found.report["distillation"]["curve"]
    assert curve[-1]["states"] < 0.8 * curve[0]["states"]
    # The head has no part in them.
    assert torch.equal(tensors_of(found.output)["lm_head.weight"], tensors_of(moved_untied)["lm_head.weight"])


def test_the_same_seed_gives_the_same_bytes(moved, source, text, taught, tmp_path):
    again = salt_ext.distill(moved, tmp_path / "again", teacher=source, text=text, **SMALL)
    other = salt_ext.distill(moved, tmp_path / "other", teacher=source, text=text, **SMALL, seed=1)
    weights = [(each.output / "model.safetensors").read_bytes() for each in (taught, again, other)]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_what_is_taught_twice_adds_up(taught, source, text, tmp_path):
    first = taught.plan.dense
    found = salt_ext.distill(taught.output, tmp_path / "out", teacher=source, text=text, **SMALL)
    old, new = tensors_of(source), tensors_of(found.output)
    table = "model.embed_tokens.weight"
    assert torch.equal(found.plan.apply(old[table]), new[table])
    assert (found.plan.dense.snippets[torch.isin(found.plan.dense.rows, first.rows)] > first.snippets).any()


def test_report_card_and_explanation(taught, moved):
    report = json.loads((taught.output / "salt_report.json").read_text())
    before = json.loads((moved / "salt_report.json").read_text())
    assert {name: report[name] for name in before} == before
    found = report["distillation"]
    assert found["options"]["tokens"] == 1500
    assert [step["tokens"] for step in found["curve"]] == sorted(step["tokens"] for step in found["curve"])
    assert found["curve"][-1]["tokens"] >= 1500
    assert found["bits_per_byte"].keys() == {"before", "after"}
    card = (taught.output / "README.md").read_text()
    assert card.startswith((moved / "README.md").read_text().rstrip())
    assert "## Distillation" in card
    row = int(taught.plan.dense.rows[0])
    shown = CliRunner().invoke(app, ["explain", str(taught.output), f"#{row}"])
    moved_by = float(taught.plan.dense.moved[0])
    assert (
        f"distilled: {int(taught.plan.dense.snippets[0])} snippets, moved by {moved_by:.2f} of its norm" in shown.output
    )


def test_the_command_says_what_it_costs_before_it_begins(moved, source, text, tmp_path):
    arguments = ["distill", str(moved), "--teacher", str(source), "--text", str(text[0]), "-o", str(tmp_path / "out")]
    arguments += ["--tokens", "600", "--tokens-per-step", "300", "--context", "64", "--threads", "1"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    cost, *rest = shown.output.splitlines()
    assert re.search(r"min on cpu for 6\d\d tokens in 2 steps", cost)
    assert any("bits per byte of held-out text" in line for line in rest)


def test_a_distillation_that_made_it_worse_says_so(moved, source, text, taught, tmp_path):
    found = salt_ext.distill(moved, tmp_path / "out", teacher=source, text=text, **SMALL | {"learning_rate": 3.0})
    bits = found.report["distillation"]["bits_per_byte"]
    assert bits["after"] > bits["before"]
    (warning,) = found.report["distillation"]["warnings"]
    assert warning.startswith("bits per byte of held-out text rose")
    assert (taught.report["distillation"]["warnings"] == []) == (
        taught.report["distillation"]["bits_per_byte"]["after"]
        <= taught.report["distillation"]["bits_per_byte"]["before"]
    )


def test_a_folder_that_was_not_moved_is_refused(source, text, tmp_path):
    with pytest.raises(InputError, match=r"has no salt_plan.safetensors, expected the output folder of salt-ext"):
        salt_ext.distill(source, tmp_path / "out", teacher=source, text=text, **SMALL)


def test_another_body_is_refused(moved, untied_source, source, text, tmp_path, copy_of):
    with pytest.raises(InputError, match=r"expected 420, those of the plan|has another body than teacher"):
        salt_ext.distill(moved, tmp_path / "out", teacher=untied_source, text=text, **SMALL)
    trained = copy_of(moved)
    weights = tensors_of(trained)
    weights["model.layers.1.mlp.up_proj.weight"] *= 1.01
    safetensors.torch.save_file(weights, trained / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"numbers of model\.layers\.1\.mlp\.up_proj\.weight differ"):
        salt_ext.distill(trained, tmp_path / "out", teacher=source, text=text, **SMALL)


def test_another_source_of_the_same_body_is_refused(moved, source, text, tmp_path, copy_of):
    other = copy_of(source)
    weights = tensors_of(other)
    weights["model.embed_tokens.weight"] += 1
    safetensors.torch.save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"rows of its anchors are not those of teacher"):
        salt_ext.distill(moved, tmp_path / "out", teacher=other, text=text, **SMALL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": 3}, "layer is 3, expected at most 2"),
        ({"context": 65}, "context is 65, expected at most 64"),
        (
            {"tokens_per_step": 10**6},
            r"text has \d+ tokens to learn from, expected at least those of one step, 1000000",
        ),
        ({"tokens": 0}, "tokens is 0"),
        ({"states": 0, "chunks": 0, "next_token": 0}, "expected one loss at least"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"states": -1}, "states is -1, expected a weight of at least 0"),
        ({"temperature": 0}, "temperature is 0"),
        ({"text": []}, r"text is \[\], expected a list of files"),
        ({"text": "file"}, "text is 'file', expected a list of files"),
        ({"learning_rate": 1e30}, r"losses are not finite at step [23], behind \d+ tokens: "),
    ],
)
def test_bad_options_leave_nothing(changes, message, moved, source, text, tmp_path):
    with pytest.raises(InputError, match=message):
        salt_ext.distill(moved, tmp_path / "out", teacher=source, **{"text": text} | SMALL | changes)
    assert not list(tmp_path.iterdir())


def test_an_encoder_decoder_is_refused(source_tokenizer, donor, text, tmp_path):
    size = {"d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 4}
    config = transformers.T5Config(vocab_size=len(source_tokenizer), decoder_start_token_id=0, **size)
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    source_tokenizer.save_pretrained(tmp_path / "t5")
    salt_ext.transfer(tmp_path / "t5", donor, tmp_path / "moved", method="subword")
    with pytest.raises(InputError, match=r"model is an encoder-decoder \(t5\), expected a causal language model"):
        salt_ext.distill(tmp_path / "moved", tmp_path / "out", teacher=tmp_path / "t5", text=text, **SMALL)


def test_bad_texts_are_refused(moved, source, tmp_path):
    single, foreign = tmp_path / "single", tmp_path / "foreign"
    single.write_text("ein Satz\n")
    with pytest.raises(InputError, match="text has a single document"):
        salt_ext.distill(moved, tmp_path / "out", teacher=source, text=[single], **SMALL)
    # Single letters, which both vocabularies have.
    foreign.write_text("\n".join("xqzvw"[n % 5] * (n + 1) for n in range(60)))
    with pytest.raises(InputError, match=r"text holds none of the \d+ new tokens"):
        salt_ext.distill(moved, tmp_path / "out", teacher=source, text=[foreign], **SMALL)


def test_an_existing_output_stays(moved, source, text, taught):
    before = (taught.output / "model.safetensors").read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        salt_ext.distill(moved, taught.output, teacher=source, text=text, **SMALL)
    assert (taught.output / "model.safetensors").read_bytes() == before
