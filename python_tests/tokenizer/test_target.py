"""The target's tokenizer under the source's conventions: frames, roles, markers, pairs, the user's map."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tokenizers import AddedToken

from salt_ext.errors import InputError
from salt_ext.tokenizer import build_target, load_token_map
from salt_ext.vocab import Vocabulary

SENTENCE = "Die Häuser der großen Städte stehen über den Straßen."


def tokens_of(tokenizer: Any, *texts: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(*texts)["input_ids"])


def bare(tokenizer: Any, text: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(text, add_special_tokens=False)["input_ids"])


def spelt_pairs(source: Any, built: Any) -> dict[str, str]:
    return {built.vocabulary.tokens[new]: source.convert_ids_to_tokens(old) for new, old in built.pairs.items()}


BEGINS = {"roberta": "<s>", "unigram": "<s>", "wordpiece": "[CLS]", "metaspace": "<s>"}


@pytest.mark.parametrize("name", sorted(BEGINS))
def test_the_sources_frame(llama_source, make_target, name) -> None:
    """`<s>` before every text and nothing else, whatever the target's own template was."""
    own = make_target(name)
    built = build_target(llama_source, own).tokenizer
    own_bare, other = bare(own, SENTENCE), bare(own, "Guten Morgen")
    assert tokens_of(built, SENTENCE) == [BEGINS[name], *own_bare]
    assert tokens_of(built, SENTENCE, "Guten Morgen") == [BEGINS[name], *own_bare, BEGINS[name], *other]
    kinds = built(SENTENCE, "Guten Morgen", return_token_type_ids=True)["token_type_ids"]
    assert kinds == [0] * (len(own_bare) + 2) + [1] * len(other)  # as the source's template has it
    assert tokens_of(own, SENTENCE) != tokens_of(built, SENTENCE) or name == "metaspace"


def test_no_frame(gpt2_source, target) -> None:
    built = build_target(gpt2_source, target).tokenizer
    assert tokens_of(built, SENTENCE) == bare(target, SENTENCE)
    assert tokens_of(built, SENTENCE, "a") == bare(target, SENTENCE) + bare(target, "a")
    assert len(built(SENTENCE * 9)["input_ids"]) > 16  # the WordPiece target cut and filled at 16


def test_a_frame_without_roles_is_kept(llama_source, make_target) -> None:
    """A token that plays no role but stands before every text is added where it is lacking."""
    llama_source.bos_token = None
    built = build_target(llama_source, make_target("wordpiece"))
    assert tokens_of(built.tokenizer, "haus")[0] == "<s>"
    assert built.pairs[built.tokenizer.convert_tokens_to_ids("<s>")] == 1


def test_offsets_are_still_trimmed(llama_source, make_target) -> None:
    own = make_target("roberta")
    built = build_target(llama_source, own).tokenizer
    given = own("eins zwei", return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    assert built("eins zwei", return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"] == given
    assert built("eins zwei", return_offsets_mapping=True)["offset_mapping"] == [(0, 0), *given]
    assert all("eins zwei"[begin] != " " for begin, _ in given)


def test_habits_are_the_sources(chat_source, target) -> None:
    built = build_target(chat_source, target).tokenizer
    assert (built.padding_side, built.truncation_side, built.model_max_length) == ("left", "left", 4096)
    assert built.model_input_names == chat_source.model_input_names
    assert built.chat_template == chat_source.chat_template
    ids = built(["ein langer Satz mit Wörtern", "kurz"], padding=True)
    assert ids["input_ids"][1][0] == built.pad_token_id
    assert ids["attention_mask"][1][0] == 0


@pytest.mark.parametrize("name", ["response_schema", "response_template", "chat_control_tokens"])
def test_how_answers_are_read_is_kept_where_transformers_knows_it(chat_source, target, name) -> None:
    """Each version of transformers gives a tokenizer some of the three."""
    if hasattr(chat_source, name):
        value = ["<|im_start|>"] if name == "chat_control_tokens" else {"type": "object"}
        setattr(chat_source, name, value)
        assert getattr(build_target(chat_source, target).tokenizer, name) == value
        delattr(chat_source, name)
    assert getattr(build_target(chat_source, target).tokenizer, name, None) is None


def test_the_given_ones_are_unchanged(chat_source, target) -> None:
    before = [one.backend_tokenizer.to_str() for one in (chat_source, target)]
    build_target(chat_source, target)
    assert [one.backend_tokenizer.to_str() for one in (chat_source, target)] == before


ROLES = {
    # No bos here; eos is the marker that the template writes; pad is the target's own.
    "roberta": {"eos": "<|im_end|>", "pad": "<pad>", "unk": "<unk>"},
    "unigram": {"eos": "<|im_end|>", "pad": "<pad>", "unk": "<unk>"},
    "wordpiece": {"eos": "<|im_end|>", "pad": "[PAD]", "unk": "[UNK]"},
    "metaspace": {"eos": "<|im_end|>", "pad": "<|endoftext|>", "unk": "<unk>"},
}


@pytest.mark.parametrize("name", sorted(ROLES))
def test_roles_of_a_chat_source(chat_source, make_target, name) -> None:
    built = build_target(chat_source, make_target(name)).tokenizer
    assert built.special_tokens_map == {f"{role}_token": token for role, token in ROLES[name].items()}


@pytest.mark.parametrize(
    ("name", "roles", "pairs"),
    [
        ("roberta", {"bos": "<s>", "eos": "</s>"}, {"<s>": "<s>", "</s>": "</s>", "<unk>": "<unk>"}),
        ("unigram", {"bos": "<s>", "eos": "</s>"}, {"<s>": "<s>", "</s>": "</s>", "<unk>": "<unk>"}),
        ("wordpiece", {"bos": "[CLS]", "eos": "[SEP]"}, {"[CLS]": "<s>", "[SEP]": "</s>", "[UNK]": "<unk>"}),
        ("metaspace", {"bos": "<s>", "eos": "</s>"}, {"<s>": "<s>", "</s>": "</s>", "<unk>": "<unk>"}),
    ],
)
def test_roles_and_pairs_of_a_plain_source(llama_source, make_target, name, roles, pairs) -> None:
    built = build_target(llama_source, make_target(name))
    assert {role: built.tokenizer.special_tokens_map[f"{role}_token"] for role in roles} == roles
    assert spelt_pairs(llama_source, built) == pairs
    assert len(built.added) == (name == "unigram")


def test_one_token_has_one_twin(gpt2_source, llama_source, target) -> None:
    """A source that begins and ends texts by one token gets one; two tokens never share a row, nor the other way."""
    one = build_target(gpt2_source, target)
    assert one.tokenizer.bos_token == one.tokenizer.eos_token
    assert list(one.pairs.values()) == [gpt2_source.eos_token_id]
    two = build_target(llama_source, gpt2_source)
    assert (two.tokenizer.bos_token, two.tokenizer.eos_token) == ("<s>", "<|endoftext|>")
    assert sorted(two.pairs.values()) == [1, 2]


MARKERS = ["<|im_start|>", "<|im_end|>", "<|image_pad|>", "<tool_call>", "<|fim_prefix|>", "<|end|>"]


def test_markers(chat_source, target) -> None:
    built = build_target(chat_source, target)
    size = len(target)
    spelling = built.vocabulary.tokens
    added = [spelling[number] for number in built.added]
    # Not the tag <b> and the line breaks, which are text, nor the filler, nor the pad token, whose role is played.
    assert [token for token in added if token != "<|endoftext|>"] == MARKERS
    assert list(built.added) == list(range(size, size + len(added)))
    assert all(spelling[number] == chat_source.convert_ids_to_tokens(built.pairs[number]) for number in built.added)
    known = {token.content: token for token in chat_source.added_tokens_decoder.values()}
    for number in built.added:
        token = built.tokenizer.added_tokens_decoder[number]
        flags = ("special", "lstrip", "rstrip", "single_word")
        assert [getattr(token, flag) for flag in flags] == [getattr(known[token.content], flag) for flag in flags]
        assert bare(built.tokenizer, f"{token.content}").count(token.content) == 1
    ids = built.tokenizer("<tool_call>haus<|im_end|>")["input_ids"]
    read = built.tokenizer.decode(ids, skip_special_tokens=True)
    assert "<tool_call>" in read
    assert "<|im_end|>" not in read


def test_markers_are_wanted_or_not(chat_source, llama_source, target) -> None:
    without = build_target(chat_source, target, keep_markers=False)
    assert set(built_tokens(without)) <= {"<|endoftext|>", "<|im_end|>"}
    assert any("<|im_start|>" in warning for warning in without.warnings)
    chat_source.chat_template = None
    assert set(built_tokens(build_target(chat_source, target))) <= {"<|endoftext|>", "<|im_end|>"}
    # Without a template nothing writes the end of a turn, so its role goes to the target's own token.
    assert "<|fim_prefix|>" in built_tokens(build_target(chat_source, target, keep_markers=True))
    assert build_target(llama_source, target, keep_markers=True).warnings == []


def built_tokens(built: Any) -> list[str | None]:
    return [built.vocabulary.tokens[number] for number in built.added]


def test_markers_that_the_target_has(chat_source, target) -> None:
    target.add_tokens([AddedToken("<|im_start|>", special=True), AddedToken("<tool_call>", special=False)])
    built = build_target(chat_source, target)
    pairs = spelt_pairs(chat_source, built)
    assert pairs["<|im_start|>"] == "<|im_start|>"
    assert pairs["<tool_call>"] == "<tool_call>"
    assert "<|im_start|>" not in built_tokens(built)


def test_a_filler_that_the_template_names(chat_source, target) -> None:
    chat_source.chat_template += "<|reserved_1|>"
    assert "<|reserved_1|>" in built_tokens(build_target(chat_source, target))


def test_the_users_map(llama_source, target, tmp_path) -> None:
    house = llama_source.convert_tokens_to_ids("a")
    last = len(target) - 1
    role = target.sep_token or target.eos_token
    file = tmp_path / "map.json"
    entries = {f"#{last}": "a", role: None, str(target.convert_ids_to_tokens(last - 1)): "#2"}
    file.write_text(json.dumps(entries), encoding="utf-8")
    built = build_target(llama_source, target, token_map=load_token_map(file))
    assert built.mapped == {last: house, target.convert_tokens_to_ids(role): None, last - 1: 2}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"nowhere": "a"}, r'entry {"nowhere": "a"}: target token \'nowhere\' is not in the vocabulary of German'),
        ({"a": "nowhere"}, r"source token 'nowhere' is not in the vocabulary of English"),
        ({"#9999999": "a"}, r"target token #9999999: German has no such id, expected #0 to #"),
        ({"a": "#9999999"}, r"source token #9999999: English has no such id"),
        ({"a": "#-1"}, r"'#-1' is not in the vocabulary"),
    ],
)
def test_wrong_entries(llama_source, make_target, entries, message) -> None:
    target = make_target("roberta")
    with pytest.raises(InputError, match=message):
        build_target(
            llama_source,
            target,
            token_map=entries,
            source_vocabulary=Vocabulary.from_tokenizer(llama_source, name="English"),
            target_vocabulary=Vocabulary.from_tokenizer(target, name="German"),
        )


def test_an_entry_comes_twice(llama_source, make_target) -> None:
    own = make_target("roberta")
    with pytest.raises(InputError, match="comes twice"):
        build_target(llama_source, own, token_map={"a": "b", f"#{own.convert_tokens_to_ids('a')}": "c"})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"[1]", "found list, expected an object"),
        (b'{"a": 1}', "entry 'a': found 1, expected a source token"),
        (b'{"a": "b", "a": "c"}', "'a' comes twice"),
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (None, "cannot be read"),
    ],
)
def test_wrong_map_files(tmp_path, data, message) -> None:
    file = tmp_path / "map.json"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(InputError, match=f"token map .*{message}"):
        load_token_map(file)
