"""A damaged output does not pass the last look."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import salt_ext
from salt_ext.checkpoint import Checkpoint
from salt_ext.errors import OutputError
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.verification.folder import verify_output
from salt_ext.vocab import load_tokenizer


@pytest.fixture(scope="module")
def whole(tmp_path_factory, source, donor) -> Path:
    return salt_ext.transfer(source, donor, tmp_path_factory.mktemp("verify") / "out").output


@pytest.fixture
def check(whole, source, tmp_path) -> Callable[[Callable[[Path], None]], list[str]]:
    plan = TransferPlan.load(whole / "salt_plan.safetensors")
    tokenizer = load_tokenizer(whole)

    def run(damage: Callable[[Path], None]) -> list[str]:
        folder = Path(shutil.copytree(whole, tmp_path / "damaged"))
        damage(folder)
        return verify_output(folder, Checkpoint.open(source), plan, tokenizer=tokenizer)

    return run


def edited(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


TABLE = "model.embed_tokens.weight"


def test_a_whole_output_passes(check, whole):
    found = check(lambda folder: None)
    assert "anchors bit-equal" in found.checks
    tables = load_file(whole / "model.safetensors")
    assert found.norms.keys() <= tables.keys()
    assert TABLE in found.norms
    for name, norms in found.norms.items():
        torch.testing.assert_close(norms, tables[name].double().norm(dim=1), rtol=1e-12, atol=0)


def test_one_changed_bit_of_an_anchor(check, whole):
    row = int(TransferPlan.load(whole / "salt_plan.safetensors").rows(Provenance.COPIED)[7])

    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors[TABLE].view(torch.int32)[row, 5] ^= 1

    with pytest.raises(OutputError, match=r"anchors of .* differ"):
        check(edited(change))


def test_nan_in_a_new_row(check, whole):
    row = int(TransferPlan.load(whole / "salt_plan.safetensors").rows(Provenance.REGRESSED)[7])
    with pytest.raises(OutputError, match="NaN or infinity"):
        check(edited(lambda tensors: tensors[TABLE][row, 0].fill_(torch.nan)))


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("model.norm.weight"),
        lambda tensors: tensors.update(extra=torch.zeros(3)),
        lambda tensors: tensors.update({"model.norm.weight": tensors["model.norm.weight"].half()}),
    ],
    ids=["missing", "extra", "dtype"],
)
def test_other_tensors_than_the_sources(change, check):
    with pytest.raises(OutputError, match="names, dtypes and shapes"):
        check(edited(change))


def in_json(name: str, change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / name
        content = json.loads(file.read_text(encoding="utf-8"))
        change(content)
        file.write_text(json.dumps(content), encoding="utf-8")

    return damage


def swap_tokens(definition: dict[str, Any]) -> None:
    vocabulary = definition["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]


def prepend_a_token(definition: dict[str, Any]) -> None:
    """The same vocabulary, another frame around every text."""
    begin = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    definition["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [begin, begin, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
    }


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tokenizer.json", swap_tokens),
        ("tokenizer.json", prepend_a_token),
        ("tokenizer.json", lambda definition: definition["model"]["merges"].clear()),
        ("tokenizer_config.json", lambda config: config.update(eos_token="<s>")),
        ("tokenizer_config.json", lambda config: config.update(padding_side="left")),
    ],
    ids=["vocabulary", "frame", "merges", "role", "side"],
)
def test_another_tokenizer(name, change, check):
    with pytest.raises(OutputError, match="not opened again as it was made"):
        check(in_json(name, change))


def test_a_configuration_of_another_size(check):
    with pytest.raises(OutputError, match=r"cannot be opened again: output .*embed_tokens"):
        check(in_json("config.json", lambda config: config.update(vocab_size=7)))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_truncated_file(name, check):
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) - 40])

    with pytest.raises(OutputError, match="cannot be opened again"):
        check(damage)


def test_a_converted_output(source, donor, tmp_path):
    """Its anchors are the source's rows converted; unless it is said so, they are not the source's."""
    made = salt_ext.transfer(source, donor, tmp_path / "out", dtype="bfloat16")
    checkpoint, tokenizer = Checkpoint.open(source), load_tokenizer(made.output)
    found = verify_output(made.output, checkpoint, made.plan, tokenizer=tokenizer, dtype=torch.bfloat16)
    assert "anchors bit-equal to the source's, converted" in found.checks
    with pytest.raises(OutputError, match="names, dtypes and shapes"):
        verify_output(made.output, checkpoint, made.plan, tokenizer=tokenizer)
