"""A saved target opens through AutoTokenizer as it was, whatever model's configuration lies beside it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, dynamic_module_utils

from salt_ext.tokenizer import build_target

# The first five are types for which transformers has a class that would build its own pre-tokenizer or frame.
TYPES = ["qwen2", "qwen3_5", "phi3", "gpt2", "t5", "llama", "gemma2", "gemma3", "opt", "bloom", "bart", "mistral"]
TYPES += ["xglm", "gpt_neox", "gptj", "falcon", "phi", "stablelm", "olmo2", "deepseek_v3", "mamba", "qwen3", "mbart"]
TEXTS = ["Die Häuser  der Städte.", "<|im_start|>user\nHallo<|im_end|>\n", "x <tool_call> <|end|>   y", "a\n\nb", ""]


def facts(tokenizer: Any) -> dict[str, Any]:
    """All that may differ between two tokenizers."""
    encoded = [tokenizer(text) for text in TEXTS] + [tokenizer("eins", "zwei")]
    bare = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    return {
        "backend": json.loads(tokenizer.backend_tokenizer.to_str()),
        "encoded": [dict(one) for one in encoded],
        "bare": bare,
        "decoded": [tokenizer.decode(ids, skip_special_tokens=skip) for ids in bare for skip in (False, True)],
        "roles": tokenizer.special_tokens_map,
        "extra": [str(token) for token in tokenizer.extra_special_tokens],
        "padded": tokenizer(["a b c", "a"], padding=True, return_token_type_ids=True).data
        if tokenizer.pad_token
        else None,
        "sides": (tokenizer.padding_side, tokenizer.truncation_side, tokenizer.model_max_length),
        "inputs": tokenizer.model_input_names,
        "clean_up": tokenizer.clean_up_tokenization_spaces,
        "template": tokenizer.chat_template,
    }


@pytest.mark.parametrize("trusted", [None, True])
def test_opens_as_it_is(chat_source, target, tmp_path: Path, monkeypatch, trusted) -> None:
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", list(sys.path))
    for model_type in TYPES:
        built = build_target(chat_source, target, model_type=model_type).tokenizer
        folder = tmp_path / model_type
        built.save_pretrained(folder)
        (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
        opened = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted)
        assert facts(opened) == facts(built), model_type


@pytest.mark.parametrize("template", [None, {"default": "{{ messages }}", "tool_use": "{{ tools }}"}])
def test_templates_come_back(llama_source, target, tmp_path: Path, template) -> None:
    llama_source.chat_template = template
    built = build_target(llama_source, target, model_type="llama").tokenizer
    built.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).chat_template == built.chat_template == template


def test_code_is_written_only_where_a_class_is_imposed(llama_source, target, tmp_path: Path) -> None:
    for model_type in ("llama", "qwen2"):
        folder = tmp_path / model_type
        build_target(llama_source, target, model_type=model_type).tokenizer.save_pretrained(folder)
        config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        assert config["tokenizer_class"] == "PreTrainedTokenizerFast"  # a name that transformers 4 knows, too
        assert ("auto_map" in config) == bool(list(folder.glob("*.py"))) == (model_type == "qwen2")


@pytest.mark.parametrize("first", [None, True])
@pytest.mark.parametrize("model_type", ["llama", "qwen2"])
def test_saved_again_by_transformers(chat_source, make_target, tmp_path: Path, monkeypatch, model_type, first) -> None:
    """As every checkpoint of a Trainer is, without salt-ext."""
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", list(sys.path))
    built = build_target(chat_source, make_target("roberta"), model_type=model_type).tokenizer
    built.save_pretrained(tmp_path / "out")
    for name in ("out", "again", "and_again"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=first).save_pretrained(tmp_path / "again")
    # What was opened without the class cannot bring it along, so there it cannot be asked for either.
    for trusted in (None, True) if first or model_type == "llama" else (None,):
        opened = AutoTokenizer.from_pretrained(tmp_path / "again", trust_remote_code=trusted)
        assert facts(opened) == facts(built)
        opened.save_pretrained(tmp_path / "and_again")
        assert facts(AutoTokenizer.from_pretrained(tmp_path / "and_again")) == facts(built)


@pytest.mark.parametrize(
    ("name", "space"), [("roberta", True), ("unigram", True), ("wordpiece", False), ("metaspace", True)]
)
@pytest.mark.parametrize("begins", [True, False])
def test_keys_for_older_readers(llama_source, gpt2_source, make_target, tmp_path: Path, name, space, begins) -> None:
    built = build_target(llama_source if begins else gpt2_source, make_target(name)).tokenizer
    built.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    definition = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert (config["add_prefix_space"], config["add_bos_token"], config["add_eos_token"]) == (space, begins, False)
    assert config["added_tokens_decoder"] == {
        str(token.pop("id")): token for token in (dict(token) for token in definition["added_tokens"])
    }


def test_frames_of_cls_and_sep(make_target, tmp_path: Path) -> None:
    """Readers take these two for bos and eos where there are no others."""
    built = build_target(make_target("wordpiece"), make_target("wordpiece")).tokenizer
    built.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (config["add_bos_token"], config["add_eos_token"]) == (True, True)


def test_the_family_class_would_change_it(llama_source, make_target, tmp_path: Path) -> None:
    """Why all this is needed: without it, Qwen2's class takes over."""
    built = build_target(llama_source, make_target("roberta"), model_type=None).tokenizer
    built.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}', encoding="utf-8")
    opened = AutoTokenizer.from_pretrained(tmp_path)
    assert opened.backend_tokenizer.to_str() != built.backend_tokenizer.to_str()
