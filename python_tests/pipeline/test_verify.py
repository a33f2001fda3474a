"""A damaged output does not pass the last look."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import salt_ext
from salt_ext.checkpoint import Checkpoint
from salt_ext.errors import OutputError
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.verify import verify_output
from salt_ext.vocab import Vocabulary


@pytest.fixture(scope="module")
def whole(tmp_path_factory, source, donor) -> Path:
    return salt_ext.transfer(source, donor, tmp_path_factory.mktemp("verify") / "out").output


@pytest.fixture
def check(whole, source, target_tokenizer, tmp_path) -> Callable[[Callable[[Path], None]], list[str]]:
    plan = TransferPlan.load(whole / "salt_plan.safetensors")
    target = Vocabulary.from_tokenizer(target_tokenizer, name="target")

    def run(damage: Callable[[Path], None]) -> list[str]:
        folder = Path(shutil.copytree(whole, tmp_path / "damaged"))
        damage(folder)
        return verify_output(folder, Checkpoint.open(source), plan, target)

    return run


def edited(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return damage


TABLE = "model.embed_tokens.weight"


def test_a_whole_output_passes(check):
    assert "anchors bit-equal" in check(lambda folder: None)


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


def test_another_tokenizer(check):
    def damage(folder: Path) -> None:
        file = folder / "tokenizer.json"
        definition = json.loads(file.read_text(encoding="utf-8"))
        vocabulary = definition["model"]["vocab"]
        vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
        file.write_text(json.dumps(definition), encoding="utf-8")

    with pytest.raises(OutputError, match="another vocabulary"):
        check(damage)
