"""With hard links and without: whatever the source's files are called, none of them changes, nor what they link to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
import transformers

from salt_ext.checkpoint import Checkpoint, check_write
from salt_ext.checkpoint.write import NewTensor
from salt_ext.errors import InputError, OutputError

from .conftest import write_model

OWN = ("config.json", "generation_config.json", "salt_plan.safetensors", "salt_report.json", "tokenizer.json")
INDEX = "model.safetensors.index.json"


def write(source: Checkpoint, output: Path, tokenizer: object, **changes: object) -> None:
    table = torch.zeros(40, 32)

    def finish(folder: Path) -> None:
        for name in ("salt_plan.safetensors", "salt_report.json"):
            assert not (folder / name).exists()
            (folder / name).write_text("new")

    arguments = {
        "tensors": dict.fromkeys(source.vocabulary_tensors().names, NewTensor((40, 32), lambda: table)),
        "config": source.config | {"vocab_size": 40},
        "generation_config": source.generation_config,
        "tokenizer": tokenizer,
        "inside": finish,
        "force": False,
        "link": True,
    }
    write_model(source, output, **(arguments | changes))


def rename_shard(folder: Path, old: str, new: str, index_file: str = INDEX) -> None:
    (folder / old).rename(folder / new)
    index = json.loads((folder / index_file).read_text())
    index["weight_map"] = {key: new if file == old else file for key, file in index["weight_map"].items()}
    (folder / index_file).write_text(json.dumps(index))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("name", ["salt_plan.safetensors", "SALT_PLAN.safetensors", "Model-00001-OF-00009.safetensors"])
def test_shards_with_the_name_of_another_file_are_refused_before_the_work(make_checkpoint, tmp_path, name):
    folder, _ = make_checkpoint("llama-untied", max_shard_size="20KB")
    shards = sorted(path.name for path in folder.glob("model-*.safetensors"))
    name = name.replace("00009", f"{len(shards):05}")
    rename_shard(folder, shards[1], name)
    before = contents(folder)
    with pytest.raises(InputError, match=f"^source: its weight files? .*{name}.* would get "):
        check_write(Checkpoint.open(folder), tmp_path / "out", force=False)
    assert contents(folder) == before


@pytest.mark.parametrize("how", ["as they are", "a link to another folder", "a second hard link"])
def test_nothing_of_the_source_changes(make_checkpoint, tokenizer, tmp_path, how):
    """Own files under every name that the output has, each in turn a file, a symbolic link and a hard link."""
    folder, model = make_checkpoint("llama-untied", max_shard_size="20KB")
    for name in ("salt_plan.safetensors", "salt_report.json", "salt_tokenizer.py", "tokenizer.json", "LICENSE"):
        (folder / name).write_text(f"the user's {name}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in list(folder.iterdir()):
        if how == "a link to another folder":
            path.rename(elsewhere / path.name)
            path.symlink_to(elsewhere / path.name)
        elif how == "a second hard link":
            os.link(path, elsewhere / path.name)
    before = contents(folder), contents(elsewhere)
    source = Checkpoint.open(folder)
    write(source, tmp_path / "out", tokenizer)
    assert (contents(folder), contents(elsewhere)) == before
    shared = [path.name for path in (tmp_path / "out").iterdir() if path.stat().st_nlink > 1]
    assert not set(shared) & set(OWN)
    untouched = {file.name for file in source.files} - {
        source.tensors[name].file.name for name in source.vocabulary_tensors().names
    }
    expected = set() if how == "a link to another folder" else {*untouched, "LICENSE"}
    assert set(shared) == expected
    assert not any(path.is_symlink() for path in (tmp_path / "out").iterdir())
    # An edit of an own file in place is the output's alone.
    for name in OWN:
        with (tmp_path / "out" / name).open("r+b") as stream:
            stream.write(b"edited")
    assert (contents(folder), contents(elsewhere)) == before
    assert torch.equal(type(model).from_pretrained(folder).lm_head.weight, model.lm_head.weight)


def test_a_tokenizer_that_writes_more_than_its_files(make_checkpoint, tokenizer, tmp_path):
    """It is saved into an empty folder; what collides with it afterwards is an error, never an overwritten file."""
    folder, _ = make_checkpoint("llama-untied", max_shard_size="20KB")
    shard = next(file for file in sorted(folder.glob("model-*.safetensors")))
    seen = []

    class Greedy(transformers.PreTrainedTokenizerFast):
        def save_pretrained(self, save_directory: Path, *args: object, **kwargs: object) -> tuple[str, ...]:
            seen.append(os.listdir(save_directory))
            (Path(save_directory) / shard.name).write_bytes(b"overwritten")
            return ()

    before = contents(folder)
    greedy = Greedy(tokenizer_object=tokenizer.backend_tokenizer)
    with pytest.raises(OutputError, match="out cannot be written: File exists"):
        write(Checkpoint.open(folder), tmp_path / "out", greedy)
    assert seen == [[]]
    assert contents(folder) == before
    assert sorted(os.listdir(tmp_path)) == ["models"]


def test_the_weights_of_a_private_model_stay_private(make_checkpoint, tokenizer, tmp_path):
    folder, _ = make_checkpoint("llama-untied", max_shard_size="20KB")
    (folder / "LICENSE").write_text("free")
    private, public = Checkpoint.open(folder).files, folder / "LICENSE"
    for file in private:
        file.chmod(0o600)
    public.chmod(0o644)
    mask = os.umask(0o022)
    try:
        write(Checkpoint.open(folder), tmp_path / "out", tokenizer, link=False)
    finally:
        os.umask(mask)
    assert {(tmp_path / "out" / file.name).stat().st_mode & 0o777 for file in private} == {0o600}
    assert (tmp_path / "out" / "LICENSE").stat().st_mode & 0o777 == 0o644


def test_messages_name_the_output_and_no_hidden_folder(make_checkpoint, tokenizer, tmp_path, monkeypatch):
    folder, _ = make_checkpoint("llama-tied")
    source = Checkpoint.open(folder)

    def failing(folder: Path) -> None:
        raise OutputError(f"{folder}: the check failed, see {folder / 'config.json'} in {folder.name}")

    for changes in ({"inside": failing}, {"tokenizer": None}, {"config": {1: object()}}):
        with pytest.raises((OutputError, TypeError)) as caught:
            write(source, tmp_path / "out", **({"tokenizer": tokenizer} | changes))
        assert ".salt-" not in str(caught.value)
        if "config" not in changes:
            assert str(tmp_path / "out") in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["models"]
