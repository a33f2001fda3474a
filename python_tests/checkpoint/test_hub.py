"""Downloads: only the files that are needed are asked for, all of one commit."""

from __future__ import annotations

import fnmatch
import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file

from salt_ext.checkpoint import Checkpoint
from salt_ext.checkpoint.tensors import ModelOptions
from salt_ext.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SMALL = {"config.json", "generation_config.json", "tokenizer.json", "LICENSE", "README.md"}


class Hub:
    """A hub with one model, and a cache that fills as it is asked."""

    def __init__(self, model: Path, cache: Path) -> None:
        self.model = model
        self.folder = cache / "snapshots" / COMMIT
        self.fetched: list[str] = []
        self.revisions: list[str | None] = []

    def snapshot_download(
        self, name: str, *, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str]
    ) -> str:
        assert name == "org/name"
        self.revisions.append(revision)
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(path for path in self.model.rglob("*") if path.is_file()):
            path = str(file.relative_to(self.model))
            wanted = any(fnmatch.fnmatch(path, pattern) for pattern in allow_patterns)
            if wanted and not any(fnmatch.fnmatch(path, pattern) for pattern in ignore_patterns):
                if path in self.fetched:
                    continue
                self.fetched.append(path)
                shutil.copyfile(file, self.folder / path)
        return str(self.folder)


@pytest.fixture
def hub(make_checkpoint, tmp_path, monkeypatch):
    """Puts a model on the hub, beside all that is never wanted."""

    def make(name: str = "llama-untied", *, bins: bool = False, **options: object) -> Hub:
        folder, _ = make_checkpoint(name, **options)
        if bins:
            index = folder / "model.safetensors.index.json"
            for file in folder.glob("*.safetensors"):
                torch.save(load_file(file), folder / f"pytorch_{file.stem}.bin")
                file.unlink()
            if index.exists():
                text = index.read_text().replace("model-", "pytorch_model-").replace(".safetensors", ".bin")
                (folder / "pytorch_model.bin.index.json").write_text(text)
                index.unlink()
        else:
            (folder / "pytorch_model.bin").touch()
        for other in ("tokenizer.json", "LICENSE", "README.md", "tf_model.h5", "consolidated.safetensors", "code.py"):
            (folder / other).touch()
        for other in ("training_args.bin", "model.fp16.safetensors", "onnx/model.onnx", "old/config.json"):
            (folder / other).parent.mkdir(exist_ok=True)
            (folder / other).touch()
        hub = Hub(folder, tmp_path / "cache")
        monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
        return hub

    return make


def shards(hub: Hub) -> dict[str, str]:
    return json.loads(next(hub.model.glob("*.index.json")).read_text())["weight_map"]


def test_single_file(hub):
    served = hub()
    source = Checkpoint.open("org/name")
    assert source.folder == served.folder
    assert set(served.fetched) == {*SMALL, "model.safetensors"}
    # The first question is for the newest commit, the others for the same one.
    assert served.revisions == [None, *[COMMIT] * (len(served.revisions) - 1)]


@pytest.mark.parametrize("bins", [False, True], ids=["safetensors", "bin"])
@pytest.mark.parametrize("only_input", [False, True], ids=["source", "donor"])
def test_shards(hub, bins, only_input):
    served = hub(bins=bins, max_shard_size="20KB")
    held = shards(served)
    opened = Checkpoint.open("org/name", only_input=only_input)
    weights = {held["model.embed_tokens.weight"]} if only_input else set(held.values())
    assert len(set(held.values())) > len(weights) or not only_input
    assert {name for name in served.fetched if name.endswith((".safetensors", ".bin"))} == weights
    assert {name for name in served.fetched if "index" not in name} == SMALL | weights
    assert opened.input_table().shape == (96, 32)


def test_single_pickled_file(hub):
    served = hub(bins=True)
    assert Checkpoint.open("org/name", only_input=True).rows == 96
    assert set(served.fetched) == {*SMALL, "pytorch_model.bin"}


def test_code_only_where_it_was_asked_for(hub):
    served = hub()
    Checkpoint.open("org/name")
    assert "code.py" not in served.fetched
    Checkpoint.open("org/name", options=ModelOptions(trust_remote_code=True))
    assert "code.py" in served.fetched


def test_nothing_that_is_read(hub):
    served = hub()
    for file in (*served.model.glob("*.safetensors"), *served.model.glob("*.bin")):
        file.unlink()
    with pytest.raises(InputError, match=r"^donor: .* has no safetensors, only tf_model|^donor: .* holds neither"):
        Checkpoint.open("org/name", what="donor")


def test_bad_index(hub):
    served = hub(max_shard_size="20KB")
    (served.model / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../b.safetensors"}}')
    with pytest.raises(InputError, match=r"^donor: .*a safetensors file of its folder was expected"):
        Checkpoint.open("org/name", what="donor", only_input=True)


def test_cache_without_network(hub, tmp_path, monkeypatch):
    """With the real client, offline: what the cache holds is found, shards included, and links are followed."""
    served = hub(max_shard_size="20KB")
    monkeypatch.undo()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    cache = tmp_path / "hub"
    snapshot = cache / "models--org--name" / "snapshots" / COMMIT
    blobs = cache / "models--org--name" / "blobs"
    for folder in (snapshot, blobs, cache / "models--org--name" / "refs"):
        folder.mkdir(parents=True)
    (cache / "models--org--name" / "refs" / "main").write_text(COMMIT)
    for number, file in enumerate(path for path in served.model.iterdir() if path.is_file()):
        shutil.copyfile(file, blobs / str(number))
        (snapshot / file.name).symlink_to(blobs / str(number))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    assert Checkpoint.open("org/name").rows == 96
    assert Checkpoint.open("org/name", only_input=True).folder == snapshot
    with pytest.raises(InputError, match="neither a folder nor a model"):
        Checkpoint.open("org/other")
