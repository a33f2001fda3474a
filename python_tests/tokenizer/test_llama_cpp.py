"""llama.cpp reads what its converter makes of an output as transformers does; SALT_LLAMA_CPP names both's folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from factories import small_llama

from salt_ext.tokenizer import build_target, llama_cpp_warnings

FOLDER = os.environ.get("SALT_LLAMA_CPP")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="SALT_LLAMA_CPP names no folder made by llama_cpp/build.sh")
CONVERT = Path(__file__).with_name("llama_cpp") / "convert.py"
TEXTS = ["Die Häuser", "  gut  gut ", "x\n\ny\t", "😀 日本", "Straßenhäuser", "a</s>b", "<s>gut", "don't 1234 ...", ""]
PADDING = 7


def converted(tokenizer: Any, folder: Path, *rule: str) -> subprocess.CompletedProcess[str]:
    tokenizer.save_pretrained(folder)
    small_llama(len(tokenizer) + PADDING, architectures=["LlamaForCausalLM"]).save_pretrained(folder)
    command = [sys.executable, CONVERT, f"{FOLDER}/llama.cpp", folder, folder / "vocabulary.gguf", *rule]
    return subprocess.run(command, capture_output=True, text=True)


def cut(file: Path, texts: list[str]) -> list[list[int]]:
    data = b"".join(b"%d\n%b" % (len(text.encode()), text.encode()) for text in texts)
    ran = subprocess.run([f"{FOLDER}/tokenize", file], input=data, capture_output=True, check=True)
    return [[int(number) for number in line.split()] for line in ran.stdout.decode().split("\n")[:-1]]


@pytest.mark.parametrize("framed", [True, False])
def test_sentencepiece_bpe(by_sentencepiece, llama_source, gpt2_source, tmp_path: Path, framed) -> None:
    built = build_target(llama_source if framed else gpt2_source, by_sentencepiece[1]).tokenizer
    ran = converted(built, tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert cut(tmp_path / "vocabulary.gguf", TEXTS) == [built(text)["input_ids"] for text in TEXTS]
    assert (built("gut")["input_ids"][0] == built.bos_token_id) == framed


def test_byte_level(llama_source, make_target, tmp_path: Path) -> None:
    """Refused, until it is told the rule that the transfer names; the space before a text is the user's."""
    built = build_target(llama_source, make_target("roberta")).tokenizer
    (warning,) = llama_cpp_warnings(built)
    assert "not recognized" in converted(built, tmp_path).stderr
    ran = converted(built, tmp_path, warning.split("'")[-2])
    assert ran.returncode == 0, ran.stderr
    plain = [text for text in TEXTS if text and "<" not in text]
    spaced = [text if text.startswith(" ") else f" {text}" for text in plain]
    assert "begin with a space of their own" in warning
    assert cut(tmp_path / "vocabulary.gguf", spaced) == [built(text)["input_ids"] for text in plain]


@pytest.mark.parametrize("name", ["unigram", "wordpiece"])
def test_other_kinds_are_refused(llama_source, make_target, tmp_path: Path, name) -> None:
    ran = converted(build_target(llama_source, make_target(name)).tokenizer, tmp_path)
    assert ran.returncode != 0
    assert not (tmp_path / "vocabulary.gguf").exists()


def test_padding_rows(make_target, llama_source, tmp_path: Path) -> None:
    """The rows behind the last token are no tokens to llama.cpp, as they are none to the tokenizer."""
    built = build_target(llama_source, make_target("roberta")).tokenizer
    converted(built, tmp_path, "gpt-2")
    read = "import sys, json, gguf; f = gguf.GGUFReader(sys.argv[1]).fields; "
    read += "print(json.dumps([f['tokenizer.ggml.tokens'].contents(), f['tokenizer.ggml.token_type'].contents()]))"
    environment = os.environ | {"PYTHONPATH": f"{FOLDER}/llama.cpp/gguf-py"}
    command = [sys.executable, "-c", read, str(tmp_path / "vocabulary.gguf")]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    tokens, kinds = json.loads(ran.stdout)
    size = len(built)
    assert tokens[:size] == built.convert_ids_to_tokens(range(size))
    assert tokens[size:] == [f"[PAD{number}]" for number in range(size, size + PADDING)]
    unused, control = 5, 3
    assert kinds[size:] == [unused] * PADDING
    special = {number for number, token in built.added_tokens_decoder.items() if token.special}
    assert {number for number, kind in enumerate(kinds) if kind == control} == special
