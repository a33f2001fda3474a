"""The target's tokenizer as it is: for a draft model, whose ids must be those of a larger model."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken

from salt_ext.errors import InputError
from salt_ext.tokenizer import build_target
from salt_ext.vocab import load_tokenizer

TEXTS = ("Die Häuser der großen Städte.", "eins  zwei\n<|im_start|> </s>", "")


@pytest.mark.parametrize("kind", ["chat_source", "llama_source", "gpt2_source"])
def test_nothing_changes(kind, target, request, tmp_path) -> None:
    source = request.getfixturevalue(kind)
    target.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    built = build_target(source, target, exact=True)
    target.backend_tokenizer.no_truncation()
    target.backend_tokenizer.no_padding()
    built.tokenizer.save_pretrained(tmp_path)
    for new in (built.tokenizer, load_tokenizer(tmp_path)):
        assert new.get_vocab() == target.get_vocab()
        assert new.special_tokens_map == target.special_tokens_map
        assert new.all_special_ids == target.all_special_ids
        assert new.chat_template == target.chat_template
        assert [new(text)["input_ids"] for text in TEXTS] == [target(text)["input_ids"] for text in TEXTS]
        assert new(*TEXTS[:2])["input_ids"] == target(*TEXTS[:2])["input_ids"]
        ids = target(TEXTS[1])["input_ids"]
        assert new.decode(ids, skip_special_tokens=True) == target.decode(ids, skip_special_tokens=True)
    assert built.added == ()
    assert built.swapped is None
    assert built.tokenizer.model_max_length == source.model_max_length  # a matter of the body
    assert len(set(built.pairs.values())) == len(built.pairs)


PAIRS = {
    "roberta": {"<s>": "<s>", "</s>": "</s>", "<unk>": "<unk>"},
    "unigram": {"</s>": "</s>", "<unk>": "<unk>"},
    "wordpiece": {"[CLS]": "<s>", "[SEP]": "</s>", "[UNK]": "<unk>"},
    "metaspace": {"<s>": "<s>", "</s>": "</s>", "<unk>": "<unk>"},
}


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_roles_find_the_targets_own(llama_source, make_target, name) -> None:
    built = build_target(llama_source, make_target(name), exact=True)
    spelling = llama_source.convert_ids_to_tokens
    assert {built.vocabulary.tokens[new]: spelling(old) for new, old in built.pairs.items()} == PAIRS[name]
    # The unigram target begins no text by a token, the source does; the metaspace one frames as the source.
    assert len(built.warnings) == (name != "metaspace")
    if name == "unigram":
        assert "it writes TEXT '</s>', where the source was trained with '<s>' TEXT" in built.warnings[0]


def test_the_role_goes_before_the_spelling(chat_source, make_target) -> None:
    """What ends the larger model's answers is `</s>`, although it knows the source's `<|im_end|>` too."""
    own = make_target("metaspace")
    own.add_tokens([AddedToken("<|im_end|>", special=True), AddedToken("<|im_start|>", special=True)])
    built = build_target(chat_source, own, exact=True)
    spelling = chat_source.convert_ids_to_tokens
    pairs = {built.vocabulary.tokens[new]: spelling(old) for new, old in built.pairs.items()}
    assert pairs == {"</s>": "<|im_end|>", "<|im_start|>": "<|im_start|>"}


def test_all_that_has_no_place_is_named(chat_source, make_target) -> None:
    built = build_target(chat_source, make_target("metaspace"), exact=True)
    tokens = [chat_source.convert_ids_to_tokens(number) for ids in built.left_out.values() for number in ids]
    assert {"<|im_start|>", "<|endoftext|>", "<|reserved_1|>"} <= set(tokens)
    assert "<|im_end|>" not in tokens


def test_a_map_that_would_add_a_token(llama_source, make_target) -> None:
    own = make_target("roberta")
    with pytest.raises(
        InputError, match=r"'<\|im_start\|>' is not in the vocabulary of target, and --vocabulary exact"
    ):
        build_target(llama_source, own, exact=True, token_map={"<|im_start|>": "a"})
    assert build_target(llama_source, own, exact=True, token_map={"#9": "#9"}).mapped == {9: 9}
