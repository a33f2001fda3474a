"""Byte pieces that a trainer was given as special tokens: bytes for the model, whatever the tokenizer calls them."""

from __future__ import annotations

import json

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from salt_ext.tokenizer import build_target
from salt_ext.vocab import Vocabulary, match_vocabularies

PIECES = [f"<0x{byte:02X}>" for byte in range(256)]
TEXT = ["the houses stand above the streets", "and bakers open their doors"] * 3
# None of its characters is in the text that they were trained on.
UNSEEN = "Ä🙂ß"


def metaspace(model: str, *, special: bool, template: str | None = None, **roles: str) -> PreTrainedTokenizerFast:
    """A tokenizer that falls back to bytes, its byte pieces special added tokens or plain pieces."""
    if model == "BPE":
        inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
        trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>", "</s>", *PIECES], show_progress=False)
    else:
        inner = Tokenizer(models.Unigram(byte_fallback=True))
        trainer = trainers.UnigramTrainer(
            vocab_size=330, special_tokens=["<unk>", "</s>", *PIECES], unk_token="<unk>", show_progress=False
        )
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    inner.train_from_iterator(TEXT, trainer)
    definition = json.loads(inner.to_str())
    definition["model"]["byte_fallback"] = True
    if not special:
        kept = [token for token in definition["added_tokens"] if token["content"] not in PIECES]
        definition["added_tokens"] = kept
    inner = Tokenizer.from_str(json.dumps(definition))
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", eos_token="</s>", chat_template=template, **roles
    )


@pytest.mark.parametrize("model", ["BPE", "Unigram"])
@pytest.mark.parametrize("which", ["source", "target", "both"])
def test_all_bytes_are_anchors(model, which) -> None:
    source = Vocabulary.from_tokenizer(metaspace(model, special=which != "target"), name="source")
    target = Vocabulary.from_tokenizer(metaspace(model, special=which != "source"), name="target")
    assert {source.tokens[number] for number in source.byte_ids} == set(PIECES)
    found = match_vocabularies(source, target)
    spelt = {
        target.tokens[new]: source.tokens[old] for new, old in zip(found.target_ids, found.source_ids, strict=True)
    }
    kinds = {target.tokens[new]: kind for new, kind in zip(found.target_ids, found.kinds, strict=True)}
    assert all(spelt[piece] == piece and kinds[piece] == "byte" for piece in PIECES)


@pytest.mark.parametrize("model", ["BPE", "Unigram"])
def test_the_new_tokenizer_reads_them_as_text(model) -> None:
    """The trained one loses every byte where special tokens are skipped."""
    own = metaspace(model, special=True)
    ids = own(UNSEEN, add_special_tokens=False)["input_ids"]
    assert {own.convert_ids_to_tokens(number) for number in ids} >= {"<0xC3>", "<0x84>"}
    assert "Ä" not in own.decode(ids, skip_special_tokens=True)
    built = build_target(own, own).tokenizer
    assert built(UNSEEN, add_special_tokens=False)["input_ids"] == ids
    assert built.decode(ids, skip_special_tokens=True) == UNSEEN
    assert built.get_vocab() == own.get_vocab()


def test_they_are_no_markers() -> None:
    """A chat template keeps all special tokens of its tokenizer; bytes are none."""
    source = metaspace("BPE", special=True, template="{{ messages }}")
    target = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    )
    target.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert not set(PIECES) & set(build_target(source, target).tokenizer.get_vocab())


def test_one_that_plays_a_role_is_special() -> None:
    found = Vocabulary.from_tokenizer(metaspace("BPE", special=True, pad_token="<0x00>"), name="source")
    assert found.tokens[found.roles["pad"]] == "<0x00>"
    assert found.roles["pad"] in found.special_ids - found.byte_ids
    assert len(found.byte_ids) == 255
