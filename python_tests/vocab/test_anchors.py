"""Anchors: levels, collisions, roles; against the quadratic definition on random vocabularies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salt_ext.errors import InputError
from salt_ext.vocab import Form, Vocabulary, match_vocabularies
from salt_ext.vocab.roles import pair_roles


def vocabulary(*forms: Form | None, tokens: list[str] | None = None, byte_ids=(), roles=None) -> Vocabulary:
    special = frozenset((roles or {}).values())
    spelt = tokens or [f"t{number}" for number in range(len(forms))]
    return Vocabulary("made", "made", len(forms), spelt, list(forms), roles or {}, special, frozenset(byte_ids))


def word(text: str) -> Form:
    return Form(text.encode(), True)


def inner(text: str) -> Form:
    return Form(text.encode(), False)


def pairs(anchors) -> list[tuple[int, int, str]]:
    return list(zip(anchors.source_ids.tolist(), anchors.target_ids.tolist(), anchors.kinds.tolist(), strict=True))


FORMS = st.builds(Form, st.sampled_from([b"a", b"A", b"\xc3\xa4", b"\xc3", b"", b"b"]), st.booleans())
VOCABULARIES = st.lists(st.none() | FORMS, max_size=8).map(lambda forms: vocabulary(*forms))


@given(VOCABULARIES, VOCABULARIES)
def test_exact_is_the_quadratic_definition(source: Vocabulary, target: Vocabulary) -> None:
    expected = []
    for new, form in enumerate(target.forms):
        equal = [old for old, other in enumerate(source.forms) if form is not None and other == form]
        same = [old for old in equal if source.tokens[old] == target.tokens[new]]
        expected += [((same or equal)[0], new)] if equal else []
    assert [(old, new) for old, new, _ in pairs(match_vocabularies(source, target))] == expected


@given(VOCABULARIES, VOCABULARIES)
def test_wider_levels_only_add(source: Vocabulary, target: Vocabulary) -> None:
    exact, case, loose = (
        set(pairs(match_vocabularies(source, target, level=level))) for level in ("exact", "case", "loose")
    )
    assert exact <= case <= loose
    assert {kind for _, _, kind in case - exact} <= {"case"}
    assert {kind for _, _, kind in loose - case} <= {"loose"}
    new = [number for _, number, _ in loose]
    assert len(new) == len(set(new))


def test_levels() -> None:
    source = vocabulary(word("straße"), word("Äpfel"), word("äpfel"), inner("haus"), word("BAUM"), word("Baum"))
    target = vocabulary(word("A\u0308pfel"), word("STRASSE"), word("Haus"), inner("haus"), word("baum"), inner("Äpfel"))
    assert pairs(match_vocabularies(source, target)) == [(3, 3, "exact")]
    case = [(1, 0, "case"), (0, 1, "case"), (3, 3, "exact"), (4, 4, "case")]
    assert pairs(match_vocabularies(source, target, level="case")) == case
    loose = match_vocabularies(source, target, level="loose")
    assert pairs(loose) == [*case[:2], (3, 2, "loose"), *case[2:], (1, 5, "loose")]
    assert loose.collisions == {"source": 0, "target": 0, "case": 1, "loose": 0}
    assert loose.counts() == {"case": 3, "exact": 1, "loose": 2}


def test_wider_levels_leave_bytes_and_blanks_alone() -> None:
    source = vocabulary(Form(b"\xc3", True), Form(b"", True), Form(b"\n", True))
    target = vocabulary(Form(b"\xc3", False), Form(b"", False), Form(b"\n", False))
    assert pairs(match_vocabularies(source, target, level="case")) == []
    assert pairs(match_vocabularies(source, target, level="loose")) == [(0, 0, "loose"), (2, 2, "loose")]


def test_literal_piece_wins_over_its_byte_twin() -> None:
    source = vocabulary(inner("A"), inner("A"), inner("B"), tokens=["<0x41>", "A", "<0x42>"], byte_ids=[0, 2])
    byte_level = vocabulary(inner("A"), inner("B"), tokens=["A", "B"])
    anchors = match_vocabularies(source, byte_level)
    assert pairs(anchors) == [(1, 0, "exact"), (2, 1, "byte")]
    assert anchors.collisions == {"source": 1, "target": 0}
    # The other way round both twins stand for A, and the same spelling goes before the literal piece.
    assert pairs(match_vocabularies(byte_level, source)) == [(0, 0, "byte"), (0, 1, "exact"), (1, 2, "byte")]
    assert pairs(match_vocabularies(source, source)) == [(0, 0, "byte"), (1, 1, "exact"), (2, 2, "byte")]


def test_bytes_that_cut_a_character_are_of_kind_byte() -> None:
    both = vocabulary(Form(b"\xe4", False), Form(b"\xc3", True), inner("ä"))
    assert match_vocabularies(both, both).kinds.tolist() == ["byte", "byte", "exact"]


def test_nothing_shared() -> None:
    anchors = match_vocabularies(vocabulary(word("a")), vocabulary(word("b"), None))
    assert len(anchors) == 0
    assert anchors.source_ids.dtype == anchors.target_ids.dtype == np.int64
    assert anchors.counts() == {}


def test_unknown_level() -> None:
    with pytest.raises(InputError, match="one of exact, case, loose; found 'fuzzy'"):
        match_vocabularies(vocabulary(), vocabulary(), level="fuzzy")  # type: ignore[arg-type]


BERT = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4}
LLAMA = {"unk": 0, "bos": 1, "eos": 2}
GPT2 = {"bos": 9, "eos": 9, "unk": 9}
XLMR = {"bos": 0, "cls": 0, "pad": 1, "eos": 2, "sep": 2, "unk": 3, "mask": 4}


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (LLAMA, BERT, {1: 0, 2: 1, 3: 2}),
        (BERT, LLAMA, {0: 1, 1: 2, 2: 3}),
        (GPT2, XLMR, {0: 9, 2: 9, 3: 9}),
        (LLAMA, GPT2, {9: 2}),
        (XLMR, BERT, {0: 1, 1: 3, 2: 0, 3: 2, 4: 4}),
        (BERT, BERT, {0: 0, 1: 1, 2: 2, 3: 3, 4: 4}),
        ({}, BERT, {}),
        ({"bos": 5, "cls": 6}, {"cls": 1, "bos": 2}, {1: 6, 2: 5}),
    ],
)
def test_special_tokens_pair_by_role(source, target, expected) -> None:
    assert pair_roles(source, target) == expected


def test_real_specials(real) -> None:
    llama, bert, qwen = (
        real("models/en-llama").vocabulary,
        real("minilm").vocabulary,
        real("tokenizers/qwen2.5").vocabulary,
    )
    assert specials(llama, bert) == {"[PAD]": "<pad>", "[UNK]": "<unk>", "[CLS]": "<s>", "[SEP]": "</s>"}
    assert specials(llama, qwen) == {"<|im_end|>": "</s>", "<|endoftext|>": "<pad>"}
    assert specials(qwen, llama) == {"</s>": "<|im_end|>", "<pad>": "<|endoftext|>"}


def specials(source: Vocabulary, target: Vocabulary) -> dict[str | None, str | None]:
    return {
        target.tokens[new]: source.tokens[old]
        for old, new, kind in pairs(match_vocabularies(source, target))
        if kind == "special"
    }


def test_a_vocabulary_meets_itself(trained) -> None:
    for opened in trained.values():
        anchors = match_vocabularies(opened.vocabulary, opened.vocabulary)
        assert (anchors.source_ids == anchors.target_ids).all()
        assert len(anchors) == sum(token is not None for token in opened.vocabulary.tokens)
