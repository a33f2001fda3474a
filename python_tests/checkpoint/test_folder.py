"""Opening model folders and hub names: what is there is read, what is not gets one clear sentence."""

from __future__ import annotations

import json

import huggingface_hub
import pytest
import torch

from salt_ext.checkpoint import Checkpoint
from salt_ext.errors import InputError


def test_sharded_equals_single(make_checkpoint):
    folder, model = make_checkpoint("gpt-j", dtype=torch.bfloat16, max_shard_size="10KB")
    source = Checkpoint.open(folder)
    state = {name: tensor for name, tensor in model.state_dict().items() if "masked_bias" not in name}
    assert set(source.tensors) == set(state)
    for name, tensor in state.items():
        assert torch.equal(source.read(name), tensor)
    assert source.config["vocab_size"] == 96
    assert source.generation_config["eos_token_id"] == 2


def test_read_returns_memory_of_its_own(make_checkpoint):
    folder, model = make_checkpoint("llama-tied")
    source = Checkpoint.open(folder)
    source.input_table().zero_()
    assert torch.equal(source.input_table(), model.get_input_embeddings().weight)


def test_hub_name(make_checkpoint, monkeypatch):
    folder, _ = make_checkpoint("llama-tied")
    asked = []

    def download(name: str, **options: object) -> str:
        asked.append((name, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert Checkpoint.open("org/name").folder == folder
    assert asked[0][0] == "org/name"
    assert "*.bin" not in asked[0][1]["allow_patterns"]


def test_hub_name_that_is_not_there(monkeypatch):
    def download(name: str, **options: object) -> str:
        raise ConnectionError("no way to the hub\nand much more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(InputError, match=r"^donor: org/name is neither a folder nor .*: no way to the hub$"):
        Checkpoint.open("org/name", what="donor")


@pytest.mark.parametrize("name", ["./missing", "/no/such/folder", "~/no-such-folder", "one/two/three"])
def test_missing_folder_never_asks_the_hub(monkeypatch, tmp_path, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(InputError, match="there is no folder"):
        Checkpoint.open(name)
    with pytest.raises(InputError, match="there is no folder"):
        Checkpoint.open(tmp_path / "missing")


def test_file_instead_of_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file, where a model folder was expected"):
        Checkpoint.open(tmp_path / "file")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "config.json does not exist"),
        ({"config.json": "{"}, "config.json is not valid JSON"),
        ({"config.json": "\xff"}, "config.json is not valid JSON"),
        ({"config.json": "[1]"}, "holds a JSON list"),
        ({"config.json": "{}"}, "names no model_type"),
        ({"config.json": '{"model_type": "llama"}'}, "holds neither model.safetensors nor"),
        (
            {"config.json": '{"model_type": "llama"}', "pytorch_model.bin": ""},
            "pytorch_model.bin is not a file of torch.save",
        ),
        ({"config.json": '{"model_type": "llama"}', "tf_model.h5": ""}, "no safetensors, only tf_model.h5"),
    ],
)
def test_incomplete_folders(tmp_path, files, message):
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=f"^donor: (?!donor: ).*{message}"):
        Checkpoint.open(tmp_path, what="donor")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index.pop("weight_map"), "has no weight_map"),
        (lambda index: index.update(weight_map=[]), "has no weight_map"),
        (lambda index: index.update(metadata=[1]), "metadata is not an object"),
        (lambda index: index["weight_map"].update(a="../secret.safetensors"), "a safetensors file of its folder"),
        (lambda index: index["weight_map"].update(a=None), "a safetensors file of its folder"),
        (lambda index: index["weight_map"].update(a="missing.safetensors"), "missing.safetensors does not exist"),
        (lambda index: index["weight_map"].update({"no.tensor": index["weight_map"]["lm_head.weight"]}), "not hold it"),
    ],
)
def test_bad_index(make_checkpoint, change, message):
    folder, _ = make_checkpoint("llama-untied", max_shard_size="20KB")
    file = folder / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    change(index)
    file.write_text(json.dumps(index))
    with pytest.raises(InputError, match=message):
        Checkpoint.open(folder)


def test_truncated_weights(make_checkpoint):
    folder, _ = make_checkpoint("llama-untied")
    source = Checkpoint.open(folder)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"model.safetensors is not a valid safetensors file: .*truncated"):
        Checkpoint.open(folder)
    last = max(source.tensors.values(), key=lambda tensor: tensor.begin)
    with pytest.raises(InputError, match="it changed since it was opened"):
        source.read(last.name)
    with pytest.raises(InputError, match="holds no tensor 'nothing'"):
        source.read("nothing")
