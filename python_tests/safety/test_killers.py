"""Files that fuzzing found to crash, hang or fill the memory: each is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from salt_ext.checkpoint import Checkpoint
from salt_ext.checkpoint.layout import read_index
from salt_ext.errors import InputError
from salt_ext.vocab import load_tokenizer


@pytest.fixture
def folder(tmp_path) -> Path:
    """A healthy Unigram tokenizer that frames a text."""
    inner = Tokenizer(models.Unigram([("<unk>", 0.0), ("<s>", 0.0), ("▁a", -1.0), ("b", -2.0)], unk_id=0))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", bos_token="<s>").save_pretrained(tmp_path)
    assert load_tokenizer(tmp_path)("a b")["input_ids"][0] == 1
    return tmp_path


def a_piece_that_overflows_the_stack(definition: dict[str, Any]) -> None:
    """Of 150,000 characters and more: the Rust library dies when it frees or clones the model."""
    definition["model"]["vocab"].append(["x" * 400_000, -3.0])


def a_frame_of_an_unknown_token(definition: dict[str, Any]) -> None:
    """The Rust library panics at the first text, with what is no Exception in Python."""
    definition["post_processor"]["special_tokens"] = {}


def a_frame_of_an_unknown_id(definition: dict[str, Any]) -> None:
    """Every text would hold an id that no table has."""
    definition["post_processor"]["special_tokens"]["<s>"]["ids"] = [77]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (a_piece_that_overflows_the_stack, "a piece of 400000 characters, expected at most 16384"),
        (a_frame_of_an_unknown_token, "no entry found for key"),
        (a_frame_of_an_unknown_id, "it writes the id 77, which is no token"),
    ],
)
def test_tokenizers(change: Callable[[dict[str, Any]], None], message, folder):
    file = folder / "tokenizer.json"
    definition = json.loads(file.read_text(encoding="utf-8"))
    change(definition)
    file.write_text(json.dumps(definition), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        load_tokenizer(folder)


def test_a_long_string_that_is_no_piece(folder):
    """SentencePiece's table of characters is one string of hundreds of kilobytes."""
    file = folder / "tokenizer.json"
    definition = json.loads(file.read_text(encoding="utf-8"))
    definition["normalizer"] = {"type": "Replace", "pattern": {"String": "x" * 100_000}, "content": "y"}
    file.write_text(json.dumps(definition), encoding="utf-8")
    assert load_tokenizer(folder)("a")["input_ids"] == [1, 2]


@pytest.mark.parametrize("part", [None, "text_config"])
@pytest.mark.parametrize("key", ["num_hidden_layers", "n_layer", "encoder_layers"])
def test_more_layers_than_memory(key, part, tmp_path):
    """transformers would make a list or a module for each."""
    claim: dict[str, Any] = {key: 2**40}
    config = {"model_type": "gemma2"} | (claim if part is None else {part: claim})
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=rf"states {key} = 1.09951e\+12, expected at most 4096"):
        Checkpoint.open(tmp_path)


@pytest.mark.parametrize("name", ["\0.safetensors", "\ud800.safetensors", "x" * 300 + ".safetensors"])
def test_names_that_no_file_has(name, tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(InputError, match="where a safetensors file of its folder was expected"):
        read_index(index)
