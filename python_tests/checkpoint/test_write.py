"""The written folder: transformers opens it, replaced tensors are new, every other byte is the source's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from salt_ext.checkpoint import Checkpoint
from salt_ext.checkpoint.header import read_header
from salt_ext.checkpoint.write import NewTensor, write_file
from salt_ext.errors import InputError, OutputError

from .conftest import write_model

NEW_ROWS = 40


def new_tables(source: Checkpoint) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    tables = {}
    for name in source.vocabulary_tensors().names:
        info = source.tensors[name]
        tables[name] = torch.randn(NEW_ROWS, *info.shape[1:], generator=generator).to(info.torch_dtype)
    return tables


def new_tensors(tables: dict[str, torch.Tensor]) -> dict[str, NewTensor]:
    return {name: NewTensor(tuple(table.shape), lambda table=table: table) for name, table in tables.items()}


def resized(config: dict, rows: int) -> dict:
    config = config | {"vocab_size": rows} if "text_config" not in config else dict(config)
    if "text_config" in config:
        config["text_config"] = config["text_config"] | {"vocab_size": rows}
    return config


def write(source: Checkpoint, output: Path, tokenizer: object, **changes: object) -> dict[str, torch.Tensor]:
    tables = new_tables(source)
    arguments = {
        "tensors": new_tensors(tables),
        "config": resized(source.config, NEW_ROWS),
        "generation_config": source.generation_config,
        "tokenizer": tokenizer,
        "inside": lambda folder: (folder / "salt_report.json").write_text("{}"),
        "force": False,
    }
    write_model(source, output, **(arguments | changes))
    return tables


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return {
        name: tensor for file in sorted(folder.glob("model*.safetensors")) for name, tensor in load_file(file).items()
    }


def siblings(output: Path) -> list[str]:
    return sorted(path.name for path in output.parent.iterdir())


@pytest.mark.parametrize("name", ["llama-tied", "llama-untied", "gpt2", "gpt-neox", "gpt-j", "opt", "gemma3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", [{}, {"max_shard_size": "20KB"}], ids=["single", "sharded"])
def test_whole_model(make_checkpoint, tokenizer, tmp_path, name, dtype, options):
    folder, model = make_checkpoint(name, dtype=dtype, **options)
    source = Checkpoint.open(folder)
    output = tmp_path / "out" / "model"
    output.parent.mkdir()
    tables = write(source, output, tokenizer)
    assert siblings(output) == ["model"]
    before, after = weights(folder), weights(output)
    assert set(before) == set(after)
    for key, tensor in after.items():
        expected = tables.get(key, before[key])
        assert tensor.dtype == expected.dtype == dtype
        assert torch.equal(tensor, expected), key
    if options:
        index = json.loads((output / "model.safetensors.index.json").read_text())
        assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in after.values())
        assert index["metadata"]["total_parameters"] == sum(tensor.numel() for tensor in after.values())
        for key, file in index["weight_map"].items():
            with safe_open(output / file, "pt") as opened:
                assert key in set(opened.keys())
                assert opened.metadata() == {"format": "pt"}
    loaded, report = type(model).from_pretrained(output, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert (loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight) == tied
    assert loaded.dtype == dtype
    assert loaded.config.get_text_config().vocab_size == NEW_ROWS
    assert torch.equal(loaded.get_input_embeddings().weight, tables[source.vocabulary_tensors().input])
    tokens = transformers.AutoTokenizer.from_pretrained(output)("w5 w7", return_tensors="pt").input_ids
    assert tokens.tolist() == [[5, 7]]
    assert loaded(input_ids=tokens).logits.shape == (1, 2, NEW_ROWS)
    if name != "gemma3":
        assert loaded.generation_config.eos_token_id == 2


def test_untouched_shards_are_identical_files(make_checkpoint, tokenizer, tmp_path):
    folder, _ = make_checkpoint("llama-untied", max_shard_size="20KB")
    source = Checkpoint.open(folder)
    touched = {source.tensors[name].file.name for name in source.vocabulary_tensors().names}
    write(source, tmp_path / "out", tokenizer)
    compared = 0
    for file in folder.glob("model-*.safetensors"):
        same = file.read_bytes() == (tmp_path / "out" / file.name).read_bytes()
        assert same == (file.name not in touched)
        compared += same
    assert compared >= 3


def test_the_new_table_may_be_larger(make_checkpoint, tokenizer, tmp_path):
    folder, model = make_checkpoint("llama-tied")
    source = Checkpoint.open(folder)
    table = torch.randn(5000, 32)
    new = new_tensors({"model.embed_tokens.weight": table})
    write(source, tmp_path / "out", tokenizer, tensors=new, config=resized(source.config, 5000))
    loaded = type(model).from_pretrained(tmp_path / "out")
    assert torch.equal(loaded.get_input_embeddings().weight, table)


@pytest.mark.parametrize("options", [{}, {"max_shard_size": "13KB"}], ids=["single", "sharded"])
def test_duplicates_of_a_tied_table_are_left_out(make_checkpoint, tokenizer, tmp_path, options):
    folder, model = make_checkpoint("llama-tied", **options)
    duplicate = {"lm_head.weight": model.get_input_embeddings().weight.detach().clone()}
    if options:
        # In a shard of its own, which then must not be written at all.
        save_file(duplicate, folder / "model-00000-of-00009.safetensors")
        file = folder / "model.safetensors.index.json"
        index = json.loads(file.read_text())
        index["weight_map"]["lm_head.weight"] = "model-00000-of-00009.safetensors"
        file.write_text(json.dumps(index))
    else:
        file = folder / "model.safetensors"
        save_file({name: tensor.clone() for name, tensor in load_file(file).items()} | duplicate, file)
    tables = write(Checkpoint.open(folder), tmp_path / "out", tokenizer)
    assert not (tmp_path / "out" / "model-00000-of-00009.safetensors").exists()
    assert "lm_head.weight" not in Checkpoint.open(tmp_path / "out").tensors
    loaded = type(model).from_pretrained(tmp_path / "out")
    assert torch.equal(loaded.get_output_embeddings().weight, tables["model.embed_tokens.weight"])


def test_companion_files(make_checkpoint, tokenizer, tmp_path):
    folder, _ = make_checkpoint("llama-tied")
    kept = ["LICENSE", "NOTICE.txt", "preprocessor_config.json"]
    left = [
        "modeling_custom.py",
        "README.md",
        ".gitattributes",
        "tokenizer.model",
        "spiece.model",
        "vocab.txt",
        "merges.txt",
    ]
    left += ["pytorch_model.bin", "tf_model.h5", "consolidated.safetensors", "model.gguf", "chat_template.jinja"]
    left += ["pytorch_model.bin.index.json", "salt_plan.safetensors"]
    for name in [*kept, *left, "tokenizer.json"]:
        (folder / name).write_text(f"content of {name}")
    for name in (".git", "onnx", "original"):
        (folder / name).mkdir()
        (folder / name / "file").touch()
    output = tmp_path / "out"
    write(Checkpoint.open(folder), output, tokenizer)
    for name in kept:
        assert (output / name).read_text() == f"content of {name}"
    names = {path.name for path in output.iterdir()}
    assert names == {
        *kept,
        "README.source.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "salt_report.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert "w39" in (output / "tokenizer.json").read_text()


def test_metadata_order_and_bytes_survive_a_rewrite(tmp_path):
    tensors = {
        "z": torch.randn(3, 5, dtype=torch.float64),
        "table": torch.randn(7, 2),
        "eight": torch.randn(9).to(torch.float8_e4m3fn),
        "empty": torch.empty(0, 4),
    }
    save_file(tensors, tmp_path / "in", metadata={"format": "pt", "note": "kept"})
    table = torch.tensor([[-0.0, float("nan")], [1.0, 2.0], [3.0, 4.0]])
    # A view with strides: what counts are the elements, not the memory behind them.
    strided = table.T.contiguous().T
    before, metadata = read_header(tmp_path / "in")
    new, steps = new_tensors({"table": strided}), []
    write_file(tmp_path / "new", before, metadata, new=new, dtype=None, advance=steps.append)
    assert sum(steps) == sum(tensor.nbytes for tensor in tensors.values()) - tensors["table"].nbytes + table.nbytes
    after = load_file(tmp_path / "new")
    assert torch.equal(after["table"].view(torch.int32), table.view(torch.int32))
    for name in ("z", "eight", "empty"):
        assert torch.equal(after[name].view(torch.uint8), tensors[name].view(torch.uint8))
    with safe_open(tmp_path / "new", "pt") as opened:
        assert opened.metadata() == {"format": "pt", "note": "kept"}


@pytest.mark.parametrize("table", [torch.zeros(NEW_ROWS + 1, 32), torch.zeros(NEW_ROWS, 32, dtype=torch.float64)])
def test_a_wrong_table_leaves_nothing(make_checkpoint, tokenizer, tmp_path, table):
    folder, _ = make_checkpoint("llama-tied")
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match=r"model.embed_tokens.weight: a tensor of .* was made"):
        write(
            Checkpoint.open(folder),
            tmp_path / "out" / "model",
            tokenizer,
            tensors={"model.embed_tokens.weight": NewTensor((NEW_ROWS, 32), lambda: table)},
        )
    assert not siblings(tmp_path / "out" / "model")


def test_source_that_shrinks_while_it_is_read(make_checkpoint, tokenizer, tmp_path):
    folder, _ = make_checkpoint("llama-tied", max_shard_size="13KB")
    source = Checkpoint.open(folder)
    file = next(file for file in source.files if file == source.tensors["model.embed_tokens.weight"].file)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match="truncated"):
        write(source, tmp_path / "out", tokenizer)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="cannot be read"):
        write(source, tmp_path / "out", tokenizer)
    assert siblings(tmp_path / "out") == ["models"]


def test_disk_that_is_too_small_is_noticed_before_any_work(make_checkpoint, tokenizer, tmp_path, monkeypatch):
    folder, _ = make_checkpoint("llama-tied")
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=1_500_000))
    with pytest.raises(OutputError, match=r"out is too full: \d+.\d+ MB are needed, 1.50 MB are free"):
        write(Checkpoint.open(folder), tmp_path / "out", tokenizer)
    assert siblings(tmp_path / "out") == ["models"]


def test_disk_that_fills_up(make_checkpoint, tokenizer, tmp_path, small_disk, monkeypatch):
    """At the table, at a copied file, at the tokenizer and at the plan: always one sentence, never a leftover."""
    monkeypatch.setattr("salt_ext.checkpoint.write.check_space", lambda *_: None)
    folder, _ = make_checkpoint("llama-tied")
    source = Checkpoint.open(folder)
    output = small_disk / "out"
    large = {
        "tensors": new_tensors({"model.embed_tokens.weight": torch.zeros(10_000, 32)}),
        "config": resized(source.config, 10_000),
    }
    with pytest.raises(OutputError, match="out cannot be written: No space left on device"):
        write(source, output, tokenizer, **large)
    (folder / "LICENSE").write_bytes(bytes(1_000_000))
    source = Checkpoint.open(folder)
    with pytest.raises(OutputError, match="out cannot be written: No space left on device"):
        write(source, output, tokenizer)
    # Just so much room that the tokenizer is what does not fit.
    free = shutil.disk_usage(small_disk).free
    (folder / "LICENSE").write_bytes(bytes(free - (folder / "model.safetensors").stat().st_size - 8192))
    with pytest.raises(OutputError, match=r"(tokenizer cannot be saved|cannot be written).*No space left on device"):
        write(source, output, tokenizer)
    assert not list(small_disk.iterdir())
