"""Python code that comes with a model: it runs when it was asked for, and never otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from salt_ext.checkpoint import Checkpoint, ModelOptions, VocabularyTensors
from salt_ext.errors import InputError

CODE = """
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


class Config(PretrainedConfig):
    model_type = "salt-test-remote"

    def __init__(self, vocab_size=96, width=16, **kwargs):
        self.vocab_size = vocab_size
        self.width = width
        super().__init__(**kwargs)


class Model(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.middle = nn.Linear(config.width, config.width)
        self.answer = nn.Linear(config.width, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.words

    def get_output_embeddings(self):
        return self.answer
"""
AUTO_MAP = {"AutoConfig": "code_of_the_model.Config", "AutoModelForCausalLM": "code_of_the_model.Model"}
TRAP = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\nraise SystemExit('remote code was run')\n"


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose class is in its own folder."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder = tmp_path / "remote"
    folder.mkdir()
    (folder / "code_of_the_model.py").write_text(CODE)
    config = {"model_type": "salt-test-remote", "vocab_size": 96, "width": 16, "auto_map": AUTO_MAP}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {
        "words.weight": torch.randn(96, 16),
        "middle.weight": torch.randn(16, 16),
        "middle.bias": torch.randn(16),
    }
    tensors |= {"answer.weight": torch.randn(96, 16), "answer.bias": torch.randn(96)}
    save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture
def trap(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Gives a model folder code that must not run."""
    yield lambda folder: (folder / "code_of_the_model.py").write_text(TRAP)
    assert not list(tmp_path.rglob("*.ran"))


def test_it_runs_when_asked_for(remote):
    source = Checkpoint.open(remote, options=ModelOptions(trust_remote_code=True))
    names = ["words.weight", "answer.weight", "answer.bias"]
    expected = VocabularyTensors(names[0], names[1], (names[2],), False, (), dict.fromkeys(names, 0))
    assert source.vocabulary_tensors() == expected


@pytest.mark.parametrize(("what", "option"), [("source", "--embedding NAME"), ("donor", "--donor-embedding NAME")])
def test_it_does_not_run_otherwise(remote, what, option, trap):
    trap(remote)
    with pytest.raises(InputError, match=f"^{what} .*--trust-remote-code.*{option}.*words.weight \\[96, 16\\]"):
        Checkpoint.open(remote, what=what).input_table()


def test_it_does_not_run_where_the_tables_are_named(remote, trap):
    trap(remote)
    options = ModelOptions(embedding="words.weight", head="answer.weight", trust_remote_code=True)
    found = Checkpoint.open(remote, options=options).vocabulary_tensors()
    assert found.names == ("words.weight", "answer.weight", "answer.bias")


def test_it_does_not_run_where_transformers_has_the_class(make_checkpoint, trap):
    folder, _ = make_checkpoint("llama-tied")
    trap(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": AUTO_MAP, "architectures": None}))
    assert Checkpoint.open(folder).vocabulary_tensors().tied


def test_nobody_is_asked(remote, monkeypatch, trap):
    # transformers asks at the terminal where the option is neither true nor false.
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the user was asked"))
    config = json.loads((remote / "config.json").read_text())
    config |= {"model_type": "llama", "auto_map": {"AutoModelForCausalLM": "code_of_the_model.Model"}}
    (remote / "config.json").write_text(json.dumps(config))
    trap(remote)
    with pytest.raises(InputError):
        Checkpoint.open(remote).vocabulary_tensors()
