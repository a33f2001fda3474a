"""Whole models in torch's own files, as sources and as donors: the output is safetensors, and the same model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from salt_ext.checkpoint import Checkpoint
from salt_ext.checkpoint.write import NewTensor
from salt_ext.errors import InputError

from .conftest import write_model


def pickled(folder: Path, state: dict[str, torch.Tensor], *, shards: int = 1, name: str = "pytorch_model") -> None:
    """Puts torch's own files in the place of the safetensors of a folder."""
    for file in folder.glob("model*.safetensors*"):
        file.unlink()
    if shards == 1:
        torch.save(state, folder / f"{name}.bin")
        return
    weight_map = {}
    for number in range(shards):
        part = dict(list(state.items())[number::shards])
        file = f"{name}-{number + 1:05}-of-{shards:05}.bin"
        torch.save(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    size = sum(tensor.nbytes for tensor in state.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("name", ["llama-tied", "llama-untied", "gpt2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_source(make_checkpoint, tokenizer, tmp_path, name, dtype, shards):
    folder, model = make_checkpoint(name, dtype=dtype)
    pickled(folder, model.state_dict(), shards=shards)
    source = Checkpoint.open(folder)
    table = torch.randn(40, 32).to(dtype)
    names = source.vocabulary_tensors().names
    output = tmp_path / "out"
    write_model(
        source,
        output,
        tensors=dict.fromkeys(names, NewTensor((40, 32), lambda: table)),
        config=source.config | {"vocab_size": 40},
        generation_config=None,
        tokenizer=tokenizer,
        force=False,
    )
    assert not list(output.glob("*.bin*"))
    weights = [f"model-{number:05}-of-00003.safetensors" for number in (1, 2, 3)]
    weights = ["model.safetensors"] if shards == 1 else weights
    assert sorted(file.name for file in output.glob("*.safetensors")) == weights
    tied = model.config.tie_word_embeddings
    expected = {key: tensor for key, tensor in model.state_dict().items() if not (tied and key == "lm_head.weight")}
    after = {}
    for file in weights:
        after |= load_file(output / file)
        with safe_open(output / file, "pt") as opened:
            assert opened.metadata() == {"format": "pt"}
    assert set(after) == set(expected)
    for key, tensor in expected.items():
        assert torch.equal(after[key], table if key in names else tensor), key
    if shards > 1:
        index = json.loads((output / "model.safetensors.index.json").read_text())
        assert index["metadata"] == {"total_size": sum(tensor.nbytes for tensor in after.values())}
        assert all(key in load_file(output / file) for key, file in index["weight_map"].items())
    loaded = type(model).from_pretrained(output)
    assert loaded.dtype == dtype
    assert torch.equal(loaded.get_output_embeddings().weight, table)


def test_views_and_other_orders_come_out_plain(make_checkpoint, tokenizer, tmp_path):
    """Weights that share memory, or lie in another order, are written out in full."""
    folder, model = make_checkpoint("llama-untied")
    state = model.state_dict()
    up, down = (f"model.layers.0.mlp.{part}_proj.weight" for part in ("up", "down"))
    table, head = "model.embed_tokens.weight", "lm_head.weight"
    state[down] = state[up].T
    both = torch.cat([state[table], state[head]])
    state[table], state[head] = both[:96], both[96:]
    pickled(folder, state)
    source = Checkpoint.open(folder)
    assert source.vocabulary_tensors().duplicates == ()
    assert torch.equal(source.input_table(), state[table])
    assert torch.equal(source.read(down), state[down])
    output = tmp_path / "out"
    write_model(
        source,
        output,
        tensors={table: NewTensor((40, 32), lambda: state[table][:40]), head: NewTensor((96, 32), lambda: state[head])},
        config=source.config,
        generation_config=None,
        tokenizer=tokenizer,
        force=False,
    )
    after = load_file(output / "model.safetensors")
    for key, tensor in state.items():
        assert torch.equal(after[key], tensor[:40] if key == table else tensor), key


def test_names_that_would_collide(make_checkpoint, tokenizer, tmp_path):
    folder, model = make_checkpoint("llama-untied")
    pickled(folder, model.state_dict(), shards=2)
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(index.read_text().replace("pytorch_model-00002-of-00002", "model-00001-of-00002"))
    (folder / "pytorch_model-00002-of-00002.bin").rename(folder / "model-00001-of-00002.bin")
    source = Checkpoint.open(folder)
    with pytest.raises(InputError, match="would get one name"):
        write_model(
            source,
            tmp_path / "out",
            tensors={},
            config=source.config,
            generation_config=None,
            tokenizer=tokenizer,
            force=False,
        )


def test_safetensors_are_preferred(make_checkpoint):
    folder, model = make_checkpoint("llama-tied")
    (folder / "pytorch_model.bin").write_bytes(b"never opened")
    assert torch.equal(Checkpoint.open(folder).input_table(), model.get_input_embeddings().weight)


@pytest.mark.parametrize("files", ["safetensors", "bin"])
def test_of_a_donor_one_file_is_enough(make_checkpoint, files):
    folder, model = make_checkpoint("bert", auto="masked", max_shard_size="13KB")
    if files == "bin":
        pickled(folder, model.state_dict(), shards=3)
    table = model.get_input_embeddings().weight
    key = "bert.embeddings.word_embeddings.weight"
    index = json.loads(next(folder.glob("*.index.json")).read_text())["weight_map"]
    shards = set(index.values())
    assert len(shards) > 2
    for shard in shards - {index[key]}:
        (folder / shard).write_bytes(b"never opened")
    donor = Checkpoint.open(folder, what="donor", only_input=True)
    assert torch.equal(donor.input_table(), table)
    assert donor.rows == len(table)
    assert set(donor.tensors) == {name for name, shard in index.items() if shard == index[key]}
    with pytest.raises(InputError, match=r"^source: "):
        Checkpoint.open(folder)
    (folder / index[key]).unlink()
    with pytest.raises(InputError, match=r"^donor: (?!donor).*does not exist"):
        Checkpoint.open(folder, what="donor", only_input=True)


@pytest.mark.parametrize("shard", ["../secret.bin", "model.safetensors", None])
def test_index_that_leads_elsewhere(make_checkpoint, shard):
    folder, model = make_checkpoint("llama-untied")
    pickled(folder, model.state_dict(), shards=2)
    file = folder / "pytorch_model.bin.index.json"
    index = json.loads(file.read_text())
    index["weight_map"]["lm_head.weight"] = shard
    file.write_text(json.dumps(index))
    with pytest.raises(InputError, match="a pickled file of its folder was expected"):
        Checkpoint.open(folder)
