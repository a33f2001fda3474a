"""Targets that put a space before every segment: none between a chat's marker and its text, plain text as before."""

from __future__ import annotations

import string
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from salt_ext.tokenizer import build_target

TEXT = ["Die Häuser stehen, wie geht es dir heute?", "user assistant system\n\nDanke, gut!", "a  b"]
PLAIN = [
    "Die Häuser",
    " stehen",
    "   gut",
    "a  b ",
    "\n\nDanke",
    "\t a",
    "▁gut",
    "▁▁ gut",
    " ",
    "",
    "\u00a0a",
    "gut\r\n",
]
CHAT = "<|im_start|>user\nDie Häuser<|im_end|>\n<|im_start|>assistant\n"
KINDS = ["always", "legacy", "doubled", "unigram", "byte-level"]
BYTES = [f"<0x{value:02X}>" for value in range(256)]


def plain_bpe(normalizer: Any, pre_tokenizer: Any) -> Tokenizer:
    inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    if normalizer is not None:
        inner.normalizer = normalizers.Sequence(normalizer)
    if pre_tokenizer is not None:
        inner.pre_tokenizer = pre_tokenizer
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    inner.decoder = decoders.Sequence(steps)
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=["<unk>", "<s>", "</s>", *BYTES], show_progress=False)
    inner.train_from_iterator(TEXT * 3, trainer)
    return inner


def make(kind: str) -> PreTrainedTokenizerFast:
    spaces = normalizers.Replace(" ", "▁")
    match kind:
        case "always":
            inner = plain_bpe(None, pre_tokenizers.Metaspace())
        case "legacy":  # Llama 2's, as transformers 4 converts it
            inner = plain_bpe([normalizers.Prepend("▁"), spaces], None)
        case "doubled":  # the same, as transformers 5 does
            doubling = normalizers.Replace(Regex(r"\A▁"), "▁▁")
            inner = plain_bpe([spaces, doubling], pre_tokenizers.Metaspace(split=False))
        case "unigram":
            inner = Tokenizer(models.Unigram())
            inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
            special = ["<unk>", "<s>", "</s>"]
            alphabet = sorted(set("".join(TEXT)) | set(string.printable))
            trainer = trainers.UnigramTrainer(
                vocab_size=220, special_tokens=special, unk_token="<unk>", initial_alphabet=alphabet
            )
            inner.train_from_iterator(TEXT * 3, trainer)
        case _:
            inner = Tokenizer(models.BPE())
            inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
            alphabet = pre_tokenizers.ByteLevel.alphabet()
            trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=alphabet, special_tokens=["<unk>", "</s>"])
            inner.train_from_iterator(TEXT * 3, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", unk_token="<unk>")


def bare(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_chat_has_no_more_spaces_than_it_was_written_with(chat_source, kind) -> None:
    donor = make(kind)
    built = build_target(chat_source, donor)
    new = built.tokenizer
    ids = bare(new, CHAT)
    assert new.decode(ids) == CHAT
    for marker in ("<|im_start|>", "<|im_end|>"):
        after = [ids[place + 1] for place, one in enumerate(ids[:-1]) if one == new.convert_tokens_to_ids(marker)]
        assert after
        assert not any(str(new.convert_ids_to_tokens(one)).startswith(("▁", "Ġ")) for one in after)
    assert built.warnings == []


@pytest.mark.parametrize("kind", KINDS)
def test_plain_text_is_cut_as_the_donor_cuts_it(chat_source, kind) -> None:
    donor = make(kind)
    new = build_target(chat_source, donor).tokenizer
    for text in PLAIN:
        assert bare(new, text) == bare(donor, text), text
        assert new.decode(bare(new, text)) == donor.decode(bare(donor, text)), text
    # The second text of a pair is a beginning, too.
    own = donor.backend_tokenizer.encode("gut", "gut", add_special_tokens=False).ids
    assert new.backend_tokenizer.encode("gut", "gut", add_special_tokens=False).ids == own


def test_without_markers_nothing_changes(llama_source, chat_source) -> None:
    """Text after a special token is then cut as by the donor, too."""
    donor = make("always")
    for built in (build_target(llama_source, donor), build_target(chat_source, donor, keep_markers=False)):
        assert bare(built.tokenizer, "gut</s>gut") == bare(donor, "gut</s>gut")
    assert bare(build_target(chat_source, donor).tokenizer, "gut</s>gut") != bare(donor, "gut</s>gut")


def test_words_that_white_space_splits_keep_their_marks(chat_source) -> None:
    """As XLM-R's: every word is marked, and line breaks are lost, which a warning shows."""
    donor = make("unigram")
    split = [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    donor.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(split)
    built = build_target(chat_source, donor)
    assert bare(built.tokenizer, "Die Häuser\nstehen") == bare(donor, "Die Häuser\nstehen")
    (warning,) = built.warnings
    assert warning.startswith(
        "a chat does not come back from the new tokenizer as it was written: '<|im_start|>system\\n"
    )
    assert "<|im_end|>\\n<|im_start|>user\\n" in warning
    assert "is read as '<|im_start|> system" in warning


def test_tokens_that_are_sought_in_changed_text(chat_source) -> None:
    """A token of the donor that it finds only behind the space that it puts there must still be found there."""
    donor = make("legacy")
    donor.add_tokens([AddedToken("§gut§", normalized=True)])
    new = build_target(chat_source, donor).tokenizer
    for text in ("§gut§", "a§gut§", "a §gut§", "Die Häuser"):
        assert bare(new, text) == bare(donor, text), text


def test_templates_that_cannot_be_tried(chat_source) -> None:
    chat_source.chat_template = "{{ raise_exception('no') }}"
    assert not any("come back" in warning for warning in build_target(chat_source, make("always")).warnings)
