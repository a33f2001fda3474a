"""A model that counts positions from its padding token's id: two tokens of the target change places."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from salt_ext.errors import InputError
from salt_ext.tokenizer import SourceFacts, build_target, counted_pad
from salt_ext.vocab import load_tokenizer

SENTENCES = (
    "Die Häuser der großen Städte stehen über den Straßen.",
    'eins "zwei" drei! <0x41> 🙂',
    "[unused] <pad> </s>",
)


def counting_source(place: int, *, role: bool = True) -> PreTrainedTokenizerFast:
    """Byte-level, `<pad>` at that id, `<s>` and `</s>` around every text."""
    special = ["<s>", "</s>", "<unk>", "<mask>"]
    special.insert(place, "<pad>")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({token: number for number, token in enumerate([*special, *letters])}, []))
    inner.add_special_tokens(special)
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    ends = [("<s>", special.index("<s>")), ("</s>", special.index("</s>"))]
    inner.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"} | ({"pad_token": "<pad>"} if role else {})
    return PreTrainedTokenizerFast(tokenizer_object=inner, **names)


def spelt(tokenizer: Any, text: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_the_padding_token_has_that_id_and_nothing_else_changes(target, place, tmp_path) -> None:
    source = counting_source(place)
    plain = build_target(source, target)
    built = build_target(source, target, facts=SourceFacts(counted_pad=place))
    new = built.tokenizer
    assert new.pad_token == plain.tokenizer.pad_token
    assert new.pad_token_id == place
    before = plain.tokenizer.get_vocab()
    moved = {token for token, number in new.get_vocab().items() if before[token] != number}
    there = plain.tokenizer.pad_token_id
    expected = set() if there == place else {new.pad_token, plain.vocabulary.tokens[place]}
    assert moved == expected
    assert len(new.get_vocab()) == len(before) == len(set(new.get_vocab().values()))
    assert built.swapped == (None if there == place else tuple(sorted((there, place))))
    for text in SENTENCES:
        assert spelt(new, text) == spelt(plain.tokenizer, text)
        assert new.decode(new(text)["input_ids"]) == plain.tokenizer.decode(plain.tokenizer(text)["input_ids"])
    framed = new.convert_ids_to_tokens(new("haus")["input_ids"])
    assert framed == plain.tokenizer.convert_ids_to_tokens(plain.tokenizer("haus")["input_ids"])
    assert framed[0] == new.bos_token
    assert {built.vocabulary.tokens[number]: old for number, old in built.pairs.items()} == {
        plain.vocabulary.tokens[number]: old for number, old in plain.pairs.items()
    }
    assert {built.vocabulary.tokens[number] for number in built.added} == {
        plain.vocabulary.tokens[number] for number in plain.added
    }
    assert len(built.warnings) == len(plain.warnings) + len(moved) // 2
    new.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.get_vocab() == new.get_vocab()
    assert again.pad_token_id == place
    assert [again(text)["input_ids"] for text in SENTENCES] == [new(text)["input_ids"] for text in SENTENCES]


def test_added_tokens_behind_it_keep_their_ids(make_target) -> None:
    """The padding token may stand between others that the model itself does not know."""
    own = make_target("metaspace")
    own.add_tokens([AddedToken("<|a|>", special=True), AddedToken("<pad>", special=True), AddedToken("<|b|>")])
    own.pad_token = "<pad>"
    size, before = len(own), own.get_vocab()
    new = build_target(counting_source(1), own, facts=SourceFacts(counted_pad=1)).tokenizer
    after = new.get_vocab()
    assert after["<pad>"] == 1
    assert after["<s>"] == before["<pad>"] == size - 2
    assert (after["<|a|>"], after["<|b|>"]) == (before["<|a|>"], before["<|b|>"])
    assert spelt(new, "haus<|b|><pad><|a|>") == spelt(own, "haus<|b|><pad><|a|>")


def test_a_source_that_does_not_name_its_padding_token(target) -> None:
    """The model counts from it all the same."""
    built = build_target(counting_source(1, role=False), target, facts=SourceFacts(counted_pad=1))
    assert built.tokenizer.pad_token_id == 1
    assert built.pairs[1] == 1


def test_numbers_in_the_users_map_are_those_of_the_new_tokenizer(make_target, tmp_path) -> None:
    own = make_target("wordpiece")  # [PAD] is 0, [UNK] is 1
    built = build_target(
        counting_source(1), own, facts=SourceFacts(counted_pad=1), token_map={"#0": None, "[PAD]": "a"}
    )
    assert built.mapped == {0: None, 1: 5 + sorted(pre_tokenizers.ByteLevel.alphabet()).index("a")}
    assert built.vocabulary.tokens[0] == "[UNK]"


def test_no_token_to_change_places_with() -> None:
    inner = Tokenizer(models.WordLevel({"[UNK]": 0, "haus": 1, "[PAD]": 4, "<s>": 5, "</s>": 6}, unk_token="[UNK]"))
    inner.add_special_tokens(["[UNK]", "[PAD]", "<s>", "</s>"])
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    own = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]", pad_token="[PAD]")
    with pytest.raises(InputError, match="padding token's id, 3, where the tokenizer of target has no token to change"):
        build_target(counting_source(3), own, facts=SourceFacts(counted_pad=3), keep_markers=False)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "roberta", "pad_token_id": 7}, 7),
        ({"model_type": "xlm-roberta"}, 1),  # the family's own
        ({"model_type": "llama", "pad_token_id": 1}, None),
        ({"model_type": "encoder-decoder", "decoder": {"model_type": "camembert", "pad_token_id": 3}}, 3),
        ({"model_type": "roberta", "pad_token_id": None}, None),
        (
            {
                "model_type": "encoder-decoder",
                "encoder": {"model_type": "roberta", "pad_token_id": 2},
                "decoder": {"model_type": "roberta", "pad_token_id": 3},
            },
            None,
        ),
    ],
)
def test_which_models_count(config, expected) -> None:
    assert counted_pad(config) == expected
