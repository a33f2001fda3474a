"""Anchors: levels, collisions, roles; against the quadratic definition on random vocabularies."""

from __future__ import annotations

import numpy as np
import pytest
from factories import make_vocabulary
from hypothesis import given
from hypothesis import strategies as st

from salt_ext.errors import InputError
from salt_ext.vocab import Form, Vocabulary, match_vocabularies


def word(text: str) -> Form:
    return Form(text.encode(), True)


def inner(text: str) -> Form:
    return Form(text.encode(), False)


def pairs(anchors) -> list[tuple[int, int, str]]:
    return list(zip(anchors.source_ids.tolist(), anchors.target_ids.tolist(), anchors.kinds.tolist(), strict=True))


FORMS = st.builds(Form, st.sampled_from([b"a", b"A", b"\xc3\xa4", b"\xc3", b"", b"b"]), st.booleans())
VOCABULARIES = st.lists(st.none() | FORMS, max_size=8).map(make_vocabulary)


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
    source = make_vocabulary([word("straße"), word("Äpfel"), word("äpfel"), inner("haus"), word("BAUM"), word("Baum")])
    target = make_vocabulary(
        [word("A\u0308pfel"), word("STRASSE"), word("Haus"), inner("haus"), word("baum"), inner("Äpfel")]
    )
    assert pairs(match_vocabularies(source, target)) == [(3, 3, "exact")]
    case = [(1, 0, "case"), (0, 1, "case"), (3, 3, "exact"), (4, 4, "case")]
    assert pairs(match_vocabularies(source, target, level="case")) == case
    loose = match_vocabularies(source, target, level="loose")
    assert pairs(loose) == [*case[:2], (3, 2, "loose"), *case[2:], (1, 5, "loose")]
    assert loose.collisions == {"source": 0, "target": 0, "case": 1, "loose": 0}
    assert loose.counts() == {"case": 3, "exact": 1, "loose": 2}


def test_wider_levels_leave_bytes_and_blanks_alone() -> None:
    source = make_vocabulary([Form(b"\xc3", True), Form(b"", True), Form(b"\n", True)])
    target = make_vocabulary([Form(b"\xc3", False), Form(b"", False), Form(b"\n", False)])
    assert pairs(match_vocabularies(source, target, level="case")) == []
    assert pairs(match_vocabularies(source, target, level="loose")) == [(0, 0, "loose"), (2, 2, "loose")]


def test_literal_piece_wins_over_its_byte_twin() -> None:
    source = make_vocabulary([inner("A"), inner("A"), inner("B")], tokens=["<0x41>", "A", "<0x42>"], byte_ids=[0, 2])
    byte_level = make_vocabulary([inner("A"), inner("B")], tokens=["A", "B"])
    anchors = match_vocabularies(source, byte_level)
    assert pairs(anchors) == [(1, 0, "exact"), (2, 1, "byte")]
    assert anchors.collisions == {"source": 1, "target": 0}
    # The other way round both partners stand for A, and the same spelling goes before the literal piece.
    assert pairs(match_vocabularies(byte_level, source)) == [(0, 0, "byte"), (0, 1, "exact"), (1, 2, "byte")]
    assert pairs(match_vocabularies(source, source)) == [(0, 0, "byte"), (1, 1, "exact"), (2, 2, "byte")]


def test_bytes_that_cut_a_character_are_of_kind_byte() -> None:
    both = make_vocabulary([Form(b"\xe4", False), Form(b"\xc3", True), inner("ä")])
    assert match_vocabularies(both, both).kinds.tolist() == ["byte", "byte", "exact"]


def test_nothing_shared() -> None:
    anchors = match_vocabularies(make_vocabulary([word("a")]), make_vocabulary([word("b"), None]))
    assert len(anchors) == 0
    assert anchors.source_ids.dtype == anchors.target_ids.dtype == np.int64
    assert anchors.counts() == {}


def test_unknown_level() -> None:
    with pytest.raises(InputError, match="one of exact, case, loose; found 'fuzzy'"):
        match_vocabularies(make_vocabulary([]), make_vocabulary([]), level="fuzzy")  # type: ignore[arg-type]


def test_told_pairs_go_first() -> None:
    source = make_vocabulary([word("a"), word("b"), "<s>", inner("<tool>")], roles={"bos": 2})
    target = make_vocabulary(["<s>", word("a"), word("b"), inner("<tool>"), word("b")], roles={"bos": 0})
    free = match_vocabularies(source, target)
    assert pairs(free) == [(0, 1, "exact"), (1, 2, "exact"), (3, 3, "exact"), (1, 4, "exact")]
    told = match_vocabularies(source, target, level="loose", pairs={0: 2, 3: 3}, mapped={1: 1, 2: None, 0: 0})
    assert pairs(told) == [(0, 0, "mapped"), (1, 1, "mapped"), (3, 3, "special"), (1, 4, "exact")]


def test_a_vocabulary_meets_itself(trained) -> None:
    for opened in trained.values():
        anchors = match_vocabularies(opened.vocabulary, opened.vocabulary)
        assert (anchors.source_ids == anchors.target_ids).all()
        assert len(anchors) == sum(form is not None for form in opened.vocabulary.forms)
