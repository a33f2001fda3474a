"""A draft model for speculative decoding: the donor's vocabulary exactly, and as many rows as its tables have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

import salt_ext
from salt_ext import cli

from .conftest import ONLY_TARGET, SHARED, byte_level, save_model, text_of, word_piece

PROMPT = "an enter lomi Ka"


@pytest.fixture(scope="module")
def chat_source(tmp_path_factory: pytest.TempPathFactory, source_tokenizer) -> Path:
    """It has what an exact vocabulary must not get: a begin token before every text, markers, a template."""
    folder = tmp_path_factory.mktemp("draft") / "source"
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=type(source_tokenizer.backend_tokenizer).from_str(source_tokenizer.backend_tokenizer.to_str()),
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        chat_template="{% for m in messages %}<|turn|>{{ m.content }}</s>{% endfor %}",
    )
    tokenizer.add_tokens(["<|turn|>"], special_tokens=True)
    return save_model(folder, tokenizer)


def larger(folder: Path, kind: str) -> Path:
    """The model that the draft is for, its table padded."""
    lines = text_of(SHARED + ONLY_TARGET, 2)
    if kind == "byte-level":
        tokenizer = byte_level(lines, 450, {"eos_token": "<|end|>", "pad_token": "<|fill|>"})
        tokenizer.chat_template = "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}"
    else:
        tokenizer = word_piece(lines, 300)
    return save_model(folder, tokenizer, hidden=32, rows=512)


@pytest.mark.parametrize("kind", ["byte-level", "WordPiece"])
def test_assisted_generation(chat_source, kind, tmp_path) -> None:
    """transformers refuses an assistant of another size, and the answer must be the larger model's own."""
    donor = larger(tmp_path / "donor", kind)
    result = salt_ext.transfer(
        chat_source, donor, tmp_path / "out", method="salt", method_options={"ridge": 0.1}, vocabulary="exact", rows=512
    )
    own, new = (transformers.AutoTokenizer.from_pretrained(folder) for folder in (donor, result.output))
    assert new.get_vocab() == own.get_vocab()
    assert new.special_tokens_map == own.special_tokens_map
    assert new.chat_template == own.chat_template
    assert new(PROMPT)["input_ids"] == own(PROMPT)["input_ids"]
    big, draft = (transformers.AutoModelForCausalLM.from_pretrained(folder).eval() for folder in (donor, result.output))
    assert draft.config.vocab_size == big.config.vocab_size == 512
    assert len(draft.get_input_embeddings().weight) == 512
    prompt = {"input_ids": own(PROMPT, return_tensors="pt")["input_ids"]}
    settings = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": 9999}
    plain = big.generate(**prompt, **settings)
    calls = []
    draft.register_forward_pre_hook(lambda *_: calls.append(1))
    assert torch.equal(big.generate(**prompt, **settings, assistant_model=draft), plain)
    assert calls  # the draft was asked


def test_ids_and_rows_follow_the_donors_roles(chat_source, tmp_path) -> None:
    donor = larger(tmp_path / "donor", "byte-level")
    result = salt_ext.transfer(
        chat_source, donor, tmp_path / "out", method="salt", method_options={"ridge": 0.1}, vocabulary="exact"
    )
    new, old = (transformers.AutoTokenizer.from_pretrained(folder) for folder in (result.output, chat_source))
    config = json.loads((result.output / "config.json").read_text(encoding="utf-8"))
    assert config["eos_token_id"] == new.convert_tokens_to_ids("<|end|>")
    assert config["bos_token_id"] is None
    rows, originals = (
        load_file(f / "model.safetensors")["model.embed_tokens.weight"] for f in (result.output, chat_source)
    )
    assert torch.equal(rows[config["eos_token_id"]], originals[old.eos_token_id])
    assert result.report["tokenizer"]["added"] == []
    named = [token for tokens in result.report["tokenizer"]["left_out"].values() for _, token in tokens]
    assert named == ["<s>", "<unk>", "<|turn|>"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--vocabulary", "exact", "--rows", "449"],
            "rows: the new tables would have 449 rows, expected 450 or a little",
        ),
        (
            ["--vocabulary", "exact", "--rows", "9999999999999"],
            "would have 9999999999999 rows, expected 450 or a little",
        ),
        (["--pad-to-multiple-of", "9999999999999"], "pad_to_multiple_of: the new tables would have 9999999999999 rows"),
        (["--rows", "512", "--pad-to-multiple-of", "64"], "rows is 512: expected no pad_to_multiple_of beside it"),
        (
            ["--vocabulary", "exact", "--keep-markers"],
            "vocabulary is 'exact', which adds no token: expected no keep_markers",
        ),
        (["--vocabulary", "exact", "--token-map", "MAP"], "'<|turn|>' is not in the vocabulary of"),
    ],
)
def test_what_cannot_be(chat_source, target_tokenizer, options, message, tmp_path, capsys) -> None:
    donor = save_model(tmp_path / "donor", target_tokenizer, hidden=32)
    (tmp_path / "map.json").write_text(json.dumps({"<|turn|>": "<s>"}))
    options = [str(tmp_path / "map.json") if option == "MAP" else option for option in options]
    assert cli.run(["transfer", str(chat_source), str(donor), "-o", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_another_rule(chat_source, donor, tmp_path) -> None:
    with pytest.raises(salt_ext.errors.InputError, match="vocabulary is 'exactly', expected one of extended, exact"):
        salt_ext.transfer(chat_source, donor, tmp_path / "out", vocabulary="exactly")
