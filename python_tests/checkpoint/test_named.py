"""Architectures that transformers does not know: the user names the tables."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from salt_ext.checkpoint import Checkpoint, ModelOptions, VocabularyTensors
from salt_ext.checkpoint.tensors import input_key
from salt_ext.errors import InputError

TENSORS = {
    "net.tokens": torch.randn(96, 16),
    "net.out.weight": torch.randn(96, 16),
    "net.out.bias": torch.randn(96),
    "net.extra.0.out.weight": torch.randn(96, 16),
    "net.ids": torch.arange(96),
    "net.layers.0.up.weight": torch.randn(64, 16),
    "net.layers.0.down.weight": torch.randn(16, 64),
    "net.scale": torch.randn(96),
}


@pytest.fixture
def unknown(tmp_path: Path) -> Callable[..., Path]:
    """Writes a model of a type that nobody knows: (tensors) -> folder."""

    def make(tensors: dict[str, torch.Tensor] = TENSORS) -> Path:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "salt-unknown", "vocab_size": 96}))
        save_file(tensors, tmp_path / "model.safetensors")
        return tmp_path

    return make


def test_named_tables(unknown):
    folder = unknown()
    extra = "net.extra.0.out.weight"
    untied = Checkpoint.open(folder, options=ModelOptions(embedding="net.tokens", head="net.out.weight"))
    names = ("net.tokens", "net.out.weight", extra, "net.out.bias")
    assert untied.vocabulary_tensors() == VocabularyTensors(*names[:2], names[2:], False, (), dict.fromkeys(names, 0))
    assert torch.equal(untied.input_table(), TENSORS["net.tokens"])
    # Without a head, the model is tied, and what has the table's shape still belongs to the vocabulary.
    tied = Checkpoint.open(folder, options=ModelOptions(embedding="net.tokens")).vocabulary_tensors()
    assert (tied.head, tied.tied, tied.others) == (None, True, (extra, "net.out.weight"))
    same = Checkpoint.open(folder, options=ModelOptions(embedding="net.tokens", head="net.tokens"))
    assert same.vocabulary_tensors() == tied


def test_square_tables_and_long_series_say_nothing(unknown):
    square = {"a": torch.randn(16, 16), "b": torch.randn(16, 16), "c": torch.randn(16, 16)}
    found = Checkpoint.open(unknown(square), options=ModelOptions(embedding="a", head="b")).vocabulary_tensors()
    assert found.names == ("a", "b")
    series = {"a": torch.randn(96, 16)} | {f"layers.{i}.up": torch.randn(96, 16) for i in range(9)}
    found = Checkpoint.open(unknown(series), options=ModelOptions(embedding="a")).vocabulary_tensors()
    assert found.names == ("a",)


def test_nothing_named(unknown):
    many = {f"net.layers.{i}.up.weight": torch.randn(64, 16) for i in range(9)} | TENSORS
    with pytest.raises(InputError) as caught:
        Checkpoint.open(unknown(many)).vocabulary_tensors()
    message = str(caught.value)
    assert "--embedding NAME" in message
    assert "--head NAME" in message
    assert "--trust-remote-code" not in message
    assert re.findall(r"net\.[\w.]+ \[[\d, ]+\]", message) == [
        "net.extra.0.out.weight [96, 16]",
        "net.out.weight [96, 16]",
        "net.tokens [96, 16]",
        *(f"net.layers.{i}.up.weight [64, 16]" for i in range(5)),
    ]
    with pytest.raises(InputError, match=r"^donor .*--donor-embedding NAME: net") as caught:
        Checkpoint.open(unknown(), what="donor").input_table()
    assert "--head" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ModelOptions(embedding="tokens"), "source: --embedding names tokens, .* near it are net.tokens"),
        (ModelOptions(embedding="net.token"), "source: --embedding names net.token, .* near it are net.tokens"),
        (ModelOptions(embedding="q"), "source: --embedding names q, which the checkpoint does not hold$"),
        (ModelOptions(embedding="net.tokens", head="out.weight"), "--head names out.weight, .* net.out.weight"),
        (ModelOptions(embedding="net.scale"), r"--embedding net.scale has shape \[96\]; a table was expected"),
        (ModelOptions(embedding="net.ids"), r"--embedding net.ids has shape \[96\]"),
        (
            ModelOptions(embedding="net.tokens", head="net.layers.0.up.weight"),
            "--head net.layers.0.up.weight has 64 rows, expected the 96 of the embedding table net.tokens",
        ),
    ],
)
def test_bad_names(unknown, options, message):
    with pytest.raises(InputError, match=message):
        Checkpoint.open(unknown(), options=options).vocabulary_tensors()


def test_integers_are_no_table(unknown):
    folder = unknown({"a": torch.zeros(96, 16, dtype=torch.int32)})
    with pytest.raises(InputError, match="a has dtype I32"):
        Checkpoint.open(folder, options=ModelOptions(embedding="a")).vocabulary_tensors()


def test_names_go_before_a_known_architecture(make_checkpoint):
    folder, _ = make_checkpoint("llama-untied")
    extra = {"model.other.weight": torch.randn(96, 32)}
    save_file(load_file(folder / "model.safetensors") | extra, folder / "model.safetensors")
    options = ModelOptions(head="model.other.weight")
    found = Checkpoint.open(folder, options=options).vocabulary_tensors()
    assert (found.input, found.head) == ("model.embed_tokens.weight", "model.other.weight")
    found = Checkpoint.open(folder, options=ModelOptions(embedding="lm_head.weight")).vocabulary_tensors()
    assert (found.input, found.head) == ("lm_head.weight", None)


@pytest.mark.parametrize(
    ("name", "auto", "key"),
    [
        ("llama-untied", "causal", "model.embed_tokens.weight"),
        ("llama-untied", "base", "embed_tokens.weight"),
        ("bert", "masked", "bert.embeddings.word_embeddings.weight"),
        ("t5", "seq2seq", "shared.weight"),
        ("gemma3", "causal", "language_model.model.embed_tokens.weight"),
    ],
)
def test_key_of_the_input_table_from_names_alone(make_checkpoint, name, auto, key):
    folder, _ = make_checkpoint(name, auto)
    names = set(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").unlink()
    assert input_key(folder, names, what="donor", options=ModelOptions()) == key
    with pytest.raises(InputError, match="holds no input embedding table"):
        input_key(folder, names - {key}, what="donor", options=ModelOptions())
    with pytest.raises(InputError, match="donor: --donor-embedding names nothing, which"):
        input_key(folder, names, what="donor", options=ModelOptions(embedding="nothing"))
    assert input_key(folder, names, what="donor", options=ModelOptions(embedding=min(names))) == min(names)


def test_names_of_an_unknown_architecture(unknown):
    with pytest.raises(InputError, match=r"--donor-embedding NAME: net\.tokens$"):
        input_key(unknown(), set(TENSORS), what="donor", options=ModelOptions())
