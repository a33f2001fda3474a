"""tokenizer.model beside tokenizer.json: sentencepiece itself cuts texts as the tokenizer does, or there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from packaging.version import Version
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

from salt_ext.tokenizer import build_target, llama_cpp_warnings
from salt_ext.tokenizer.sentencepiece_model import sentencepiece_model

sentencepiece = pytest.importorskip("sentencepiece")

TEXTS = ["Die Häuser stehen", "gut gut", "a  b    c ", "x\n\ny\t", "😀 日本", "", "Straßenhäuser", "über\u00a0den"]

as_sentencepiece = pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.24"),
    reason="before 5.24 transformers leaves out the space that a tokenizer.model puts before a text",
)


@pytest.fixture
def saved(by_sentencepiece, llama_source, tmp_path: Path) -> tuple[Any, Any]:
    built = build_target(llama_source, by_sentencepiece[1]).tokenizer
    built.save_pretrained(tmp_path)
    return sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model")), built


@as_sentencepiece
def test_it_cuts_as_the_one_that_the_donor_came_with(by_sentencepiece, saved) -> None:
    original, (made, built) = by_sentencepiece[0], saved
    assert made.vocab_size() == len(built) == original.vocab_size()
    for number in range(original.vocab_size()):
        assert made.id_to_piece(number) == original.id_to_piece(number)
        for kind in ("is_control", "is_unknown", "is_byte", "is_unused"):
            assert getattr(made, kind)(number) == getattr(original, kind)(number), (number, kind)
    for text in [*TEXTS, " vorn", " ".join(TEXTS)]:
        ids = made.encode(text)
        assert ids == original.encode(text) == built(text, add_special_tokens=False)["input_ids"], text
        assert made.decode(ids) == original.decode(ids)
    assert (made.bos_id(), made.eos_id(), made.unk_id()) == (built.bos_token_id, built.eos_token_id, built.unk_token_id)


def test_added_markers_are_in_it(by_sentencepiece, chat_source, tmp_path: Path) -> None:
    built = build_target(chat_source, by_sentencepiece[1]).tokenizer
    built.save_pretrained(tmp_path)
    made = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert made.vocab_size() == len(built) > by_sentencepiece[0].vocab_size()
    for number, token in built.added_tokens_decoder.items():
        assert made.id_to_piece(number) == token.content
        assert made.is_control(number) == (token.special and not made.is_unknown(number))
    assert made.eos_id() == built.eos_token_id
    for text in TEXTS:
        assert made.encode(text) == built(text, add_special_tokens=False)["input_ids"]


@as_sentencepiece
def test_a_byte_that_is_spelt_as_what_it_is(by_sentencepiece) -> None:
    """As Gemma's tab in transformers."""
    original, donor = by_sentencepiece
    definition = json.loads(donor.backend_tokenizer.to_str())
    vocabulary = definition["model"]["vocab"]
    vocabulary["\t"] = vocabulary.pop("<0x09>")
    content = sentencepiece_model(Tokenizer.from_str(json.dumps(definition)), bos=None, eos=None)
    made = sentencepiece.SentencePieceProcessor(model_proto=content)
    for text in ("\t", "a\tb", *TEXTS):
        assert made.encode(text) == original.encode(text)
    del vocabulary["<0x0A>"]
    assert sentencepiece_model(Tokenizer.from_str(json.dumps(definition)), bos=None, eos=None) is None


def test_no_file_where_it_would_lie(by_sentencepiece, target, make_target, llama_source, tmp_path: Path) -> None:
    """Merges that are fewer than SentencePiece would make, a normalizer that it does not know, another kind."""
    built = build_target(llama_source, target).tokenizer
    built.save_pretrained(tmp_path)
    assert not (tmp_path / "tokenizer.model").exists()
    lower = build_target(llama_source, by_sentencepiece[1]).tokenizer
    backend = lower.backend_tokenizer
    assert sentencepiece_model(backend, bos=None, eos=None) is not None
    assert llama_cpp_warnings(lower) == []
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), backend.normalizer])
    assert sentencepiece_model(backend, bos=None, eos=None) is None
    assert llama_cpp_warnings(lower) == [
        "llama.cpp cuts texts as SentencePiece does, which is not how this tokenizer cuts them"
    ]


def test_what_the_converter_has_to_be_told(llama_source, gpt2_source, make_target) -> None:
    def said(name: str) -> list[str]:
        return llama_cpp_warnings(build_target(llama_source, make_target(name)).tokenizer)

    begin = "llama.cpp's converter may not recognise this byte-level tokenizer: "
    assert said("roberta") == [
        f"{begin}the rule to name in it is 'gpt-2', and texts have to begin with a space of their own"
    ]
    assert said("unigram") == said("wordpiece") == []
    plain = build_target(llama_source, gpt2_source).tokenizer
    assert llama_cpp_warnings(plain) == [f"{begin}the rule to name in it is 'gpt-2'"]
    split = pre_tokenizers.Split(Regex("[0-9]"), "isolated")
    bytes_of = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    plain.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_of])
    assert llama_cpp_warnings(plain) == [f"{begin}none of its rules is known to fit"]
