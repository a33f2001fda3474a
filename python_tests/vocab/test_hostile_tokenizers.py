"""Tokenizers whose rules never end, or on which the tokenizers library gives up: refused in a sentence, and at once."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from salt_ext.errors import InputError
from salt_ext.vocab import Vocabulary, encode_lines, load_tokenizer, packages
from salt_ext.vocab.growth import check_growth, parts_of
from salt_ext.vocab.losses import round_trip
from salt_ext.vocab.packages import missing_packages
from salt_ext.vocab.rust import rust_errors

DOUBLING = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
ENDLESS = {
    "doubling letters": {"normalizer": {"type": "Sequence", "normalizers": [DOUBLING] * 40}},
    "nested sequences": {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [DOUBLING] * 8}] * 5}
    },
    "one long replacement": {
        "normalizer": {"type": "Replace", "pattern": {"Regex": "."}, "content": "x" * 5_000},
    },
    "between all letters": {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"Regex": "(?=.)"}, "content": "xyz"}] * 20,
        }
    },
    "a byte alphabet of a byte alphabet": {
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
            ]
            * 40,
        }
    },
    "a decoder": {"decoder": {"type": "Sequence", "decoders": [DOUBLING] * 40}},
}


def saved(folder: Path, change: dict[str, Any] | None = None) -> Path:
    """A word-level tokenizer, its definition changed afterwards."""
    inner = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | (change or {})))
    return folder


@pytest.mark.parametrize("name", ENDLESS)
def test_rules_that_never_end(name, tmp_path):
    """The library itself would fill the memory with the first text, or with an added token when it opens the file."""
    added = {"id": 2, "content": "b", "single_word": False, "lstrip": False, "rstrip": False, "special": False}
    folder = saved(tmp_path, ENDLESS[name] | {"added_tokens": [added | {"normalized": True}]})
    begin = time.perf_counter()
    with pytest.raises(InputError, match="may make more than 1,000 letters of one"):
        load_tokenizer(folder)
    assert time.perf_counter() - begin < 5


def test_a_decoy_does_not_hide_the_rules():
    text = json.dumps({"normalizer": ENDLESS["doubling letters"]["normalizer"], "x": {"normalizer": {"type": "NFC"}}})
    with pytest.raises(InputError, match="normalizer"):
        check_growth(parts_of(text), "x")


def test_the_bound_holds():
    """Against what the library makes of texts, for random chains of replacements that it can run."""
    generator = random.Random(1)
    for _ in range(300):
        chain = []
        for _ in range(generator.randrange(1, 5)):
            found = generator.choice(["a", "b", "ab", "ba", "aab"])
            written = "".join(generator.choice("ab") for _ in range(generator.randrange(4)))
            if generator.random() < 0.5:
                chain.append(normalizers.Replace(found, written))
            else:
                chain.append(
                    normalizers.Replace(Regex(generator.choice([found, "a*", "a+", "(?=b)", "[ab]"])), written)
                )
        rules = normalizers.Sequence(chain)
        texts = ["".join(generator.choice("ab") for _ in range(40)) for _ in range(5)]
        growth = max(len(rules.normalize_str(text)) / len(text) for text in texts)
        definition = json.loads(rules.__getstate__())
        assert growth <= bound(definition) * 1.03  # an empty match behind the last letter
        check_growth({"normalizer": definition}, "harmless")


def bound(definition: dict[str, Any]) -> float:
    """The largest growth that is not refused, found by adding rules of a known growth."""
    for factor in range(1, 1001):
        known = {"type": "Replace", "pattern": {"String": "q"}, "content": "q" * factor}
        try:
            check_growth({"normalizer": {"type": "Sequence", "normalizers": [definition, known]}}, "x")
        except InputError:
            return 1000 / (factor - 1)
    return 1.0


@pytest.mark.parametrize(
    "part",
    [
        {"normalizer": normalizers.Sequence([normalizers.NFKC(), normalizers.NFD(), normalizers.NFKC()])},
        {"normalizer": normalizers.Sequence([normalizers.Replace(Regex(f"[{n}]+"), "0") for n in range(10)] * 5)},
        {"pre_tokenizer": pre_tokenizers.ByteLevel(), "normalizer": normalizers.NFKC()},
        {"decoder": decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])},
        {"normalizer": normalizers.Sequence([normalizers.Replace("``", '"'), normalizers.Prepend("▁")])},
    ],
)
def test_usual_rules_pass(part):
    check_growth({name: json.loads(component.__getstate__()) for name, component in part.items()}, "usual")


def test_real_tokenizers_pass(real_data):
    files = sorted((real_data / "tokenizers").glob("*/tokenizer.json"))
    assert files
    for file in files:
        parts = parts_of(file.read_text(encoding="utf-8"))
        assert parts.keys() >= {"decoder"}
        check_growth(parts, file.parent.name)


def test_tokens_that_a_decoder_makes_long(monkeypatch, tmp_path):
    monkeypatch.setattr("salt_ext.vocab.vocabulary._MOST_BYTES", 1000)
    content = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 999}
    Vocabulary.from_tokenizer(load_tokenizer(saved(tmp_path / "few", {"decoder": content})), name="few")
    monkeypatch.setattr("salt_ext.vocab.vocabulary._MOST_BYTES", 900)
    with pytest.raises(InputError, match="its tokens write more than 900 bytes"):
        Vocabulary.from_tokenizer(load_tokenizer(saved(tmp_path / "many", {"decoder": content})), name="many")


def test_an_expression_that_panics(tmp_path, capfd):
    """The library gives up by what is no Exception, and prints a traceback of its own."""
    split = {"type": "Split", "pattern": {"Regex": "(x+x+)+y"}, "behavior": "Isolated", "invert": False}
    tokenizer = load_tokenizer(saved(tmp_path, {"pre_tokenizer": split}))
    hard = ["a b", "x" * 60]
    with pytest.raises(BaseException, match="retry-limit") as raised:
        tokenizer.backend_tokenizer.encode(hard[1])
    assert not isinstance(raised.value, Exception)
    assert "panicked" in capfd.readouterr().err
    for work in (encode_lines, round_trip):
        with pytest.raises(InputError, match=r"the tokenizers library gave up: .*retry-limit"):
            work(tokenizer, hard)
    assert capfd.readouterr().err == ""


def test_a_text_that_the_library_refuses(tmp_path):
    """It then raises a bare Exception."""
    tokenizer = load_tokenizer(saved(tmp_path))
    tokenizer.backend_tokenizer.model = models.WordLevel({"a": 0})
    with pytest.raises(InputError, match="gave up: WordLevel error: Missing"):
        encode_lines(tokenizer, ["q"])


def test_other_messages_on_stderr_are_kept(tmp_path, capfd):
    with rust_errors("x"), rust_errors("y"):
        os.write(2, b"a warning of a library\n")
    with pytest.raises(ZeroDivisionError), rust_errors("x"):  # not the library's: left as it is
        os.write(2, b"another\n" * (1 // 0))
    assert capfd.readouterr().err == "a warning of a library\n"


@pytest.mark.parametrize(
    ("name", "content", "absent", "expected"),
    [
        (
            "tokenizer.model",
            b"\n\x0e\n\x05<unk>",
            ["google.protobuf"],
            "protobuf must be installed: pip install protobuf",
        ),
        ("spiece.model", b"\n\x0e\n\x05<unk>", ["sentencepiece"], "sentencepiece must be installed"),
        (
            "tokenizer.model",
            b"\n\x0e\n\x05<unk>",
            ["sentencepiece", "google.protobuf"],
            "pip install sentencepiece protobuf",
        ),
        ("tokenizer.model", b"IQ== 0\nIg== 1\n", ["tiktoken", "sentencepiece"], "pip install tiktoken"),
        ("qwen.tiktoken", b"IQ== 0\n", ["tiktoken"], "to read qwen.tiktoken, tiktoken must be installed"),
        ("tekken.json", b"{}", ["mistral_common"], "pip install mistral-common"),
        ("tokenizer.model", b"\n\x0e\n\x05<unk>", ["tiktoken"], None),
    ],
)
def test_the_missing_package_is_named(name, content, absent, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(packages, "find_spec", lambda module: None if module in absent else module)
    (tmp_path / name).write_bytes(content)
    found = missing_packages(tmp_path)
    assert found == expected if expected is None else expected in (found or "")
    if expected is not None:
        with pytest.raises(InputError, match="must be installed: pip install"):
            load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert missing_packages(tmp_path) is None
