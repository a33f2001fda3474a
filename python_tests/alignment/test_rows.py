"""Trans-tokenization's rows, on vocabularies small enough to do the sums by hand."""

from __future__ import annotations

import numpy as np
import pytest
from factories import make_vocabulary

from salt_ext.alignment import AlignmentTable, TokenCounts
from salt_ext.errors import InputError
from salt_ext.methods import assemble_plan
from salt_ext.methods.alignment_rows import trans_tokenization
from salt_ext.vocab import match_vocabularies

SOURCE = make_vocabulary(
    ["<s>", " house", " dog", "s", " the", "1", "12", " ", " run", "ing", "<unk>", "!"], name="source"
)
OLD = {token: number for number, token in enumerate(SOURCE.tokens)}


def rows(target, counts=(), *, pairs=None, mapped=None, **options):
    """Target token -> ({source token: weight}, origin); and the result itself."""
    vocabulary = make_vocabulary(target, name="target")
    new = {token: number for number, token in enumerate(target)}
    counts = counts or [(next(t for t in target if t and not t.startswith("<")), " the", 0)]
    triples = np.array([(new[t], OLD[s], count) for t, s, count in counts if count], dtype=np.int64).reshape(-1, 3)
    table = AlignmentTable.of(TokenCounts(*np.array([[0], [0], [1]])), SOURCE, vocabulary, name="table")
    table = AlignmentTable("table", TokenCounts(*triples.T), table.source, table.target)
    anchors = match_vocabularies(SOURCE, vocabulary, pairs=pairs, mapped=mapped)
    made = trans_tokenization(table, anchors, SOURCE, vocabulary, **options)
    combined, ends = made.combined, np.cumsum(made.combined.lengths)
    found = {}
    for row, number in enumerate(combined.target_ids.tolist()):
        entries = slice(ends[row] - combined.lengths[row], ends[row])
        weights = dict(zip(combined.source_ids[entries].tolist(), combined.values[entries].tolist(), strict=True))
        named = {SOURCE.tokens[old]: pytest.approx(weight, rel=1e-6) for old, weight in weights.items()}
        found[target[number]] = (named, str(made.origins[row]))
    return found, made


def test_counts_become_weights():
    found, _ = rows([" Haus", " Hund"], [(" Haus", " house", 30), (" Haus", " dog", 10), (" Hund", " dog", 12)])
    assert found == {" Haus": ({" house": 0.75, " dog": 0.25}, "mapped"), " Hund": ({" dog": 1.0}, "mapped")}


def test_equal_forms_have_a_prior_of_one():
    """An aligned token is made of its alignments, equal or not; one that is not aligned is its equal's copy."""
    found, _ = rows([" dog", " run", " Hund"], [(" dog", " house", 19), (" Hund", " dog", 10)])
    assert found[" dog"] == ({" house": 0.95, " dog": 0.05}, "mapped")
    assert found[" run"] == ({" run": 1.0}, "identical")


def test_copying_what_is_shared():
    found, made = rows([" dog", " Hund"], [(" dog", " house", 19), (" Hund", " dog", 10)], copy_shared=True)
    assert list(found) == [" Hund"]
    assert made.anchors.target_ids.tolist() == [0]


def test_numbers_have_their_first_piece():
    found, _ = rows(["123", " 123", "21", "7", " 1", "12345", " Hund"], [(" Hund", " dog", 10)])
    assert found["123"] == ({"12": 1.0}, "identical")
    assert found[" 123"] == ({"12": 1.0}, "identical")
    assert found[" 1"] == ({"1": 1.0}, "identical")
    assert found["21"] == found["7"] == ({}, "unknown")  # the source has no piece that they begin with
    assert found["12345"] == ({"12": 1.0}, "smoothed")  # longer than years: smoothed from 123


def test_smoothing_by_hand():
    """ " Haus" has 3 house : 1 s, 2000 * 3 // 4 and 1000 * 1 // 4; "boot" has dog : run 1 : 2, 666 and 1333."""
    found, _ = rows(
        [" Haus", "boot", " Hausboot", "xyz"],
        [(" Haus", " house", 30), (" Haus", "s", 10), ("boot", " dog", 10), ("boot", " run", 20)],
    )
    total = 1500 + 250 + 666 + 1333
    weights = {" house": 1500 / total, "s": 250 / total, " dog": 666 / total, " run": 1333 / total}
    assert found[" Hausboot"] == (weights, "smoothed")
    assert found["xyz"] == ({}, "unknown")


def test_smoothed_tokens_smooth_no_others():
    """Whatever the ids: "bo" and " Hausboo" are made of translated tokens alone."""
    tokens = [" Hausboo", "bo", " Haus", " Hausboote"]
    found, _ = rows(tokens, [(" Haus", " house", 10)])
    assert found[" Hausboo"] == ({" house": 1.0}, "smoothed")
    assert found["bo"] == ({}, "unknown")
    assert rows(tokens[::-1], [(" Haus", " house", 10)])[0] == found


def test_blocks_of_the_smoothing_do_not_show(monkeypatch):
    tokens = [" Haus", "boot", " Hausboot", " Hausbau", " H", "bo"]
    counts = [(" Haus", " house", 30), (" Haus", "s", 10), ("boot", " dog", 10), ("boot", " run", 20)]
    whole = rows(tokens, counts)[0]
    monkeypatch.setattr("salt_ext.methods.alignment_rows._BLOCK", 1)
    assert rows(tokens, counts)[0] == whole


def test_special_tokens_keep_their_roles_and_the_user_is_right():
    """Whatever the table says of them; a special source token translates nothing."""
    target = ["<bos>", " dog", " Hund", " Haus"]
    counts = [("<bos>", " house", 99), (" Hund", "<unk>", 99), (" Haus", " house", 10), (" dog", " house", 99)]
    found, made = rows(target, counts, pairs={0: 0}, mapped={1: OLD[" dog"]})
    assert list(found) == [" Hund", " Haus"]
    assert found[" Hund"] == ({}, "unknown")
    assert dict(zip(made.anchors.target_ids.tolist(), made.anchors.kinds.tolist(), strict=True)) == {
        0: "special",
        1: "mapped",
    }


def test_a_pair_that_the_user_takes_apart_has_no_prior():
    found, _ = rows([" dog", " Hund"], [(" Hund", " house", 10)], mapped={0: None})
    assert found[" dog"] == ({}, "unknown")


def test_coverage_counts_every_row():
    _, made = rows(["<bos>", " dog", " Haus", " Hausboot", "xyz", None], [(" Haus", " house", 10)], pairs={0: 0})
    assert made.coverage() == {"copied": 1, "mapped": 1, "identical": 1, "smoothed": 1, "unknown": 1}


def test_table_of_other_tokenizers():
    target = make_vocabulary([" Haus"], name="target")
    table = AlignmentTable.of(TokenCounts(*np.array([[0], [1], [10]])), SOURCE, target, name="table")
    anchors = match_vocabularies(SOURCE, target)
    with pytest.raises(InputError, match="table is of another target tokenizer than other"):
        trans_tokenization(table, anchors, SOURCE, make_vocabulary([" Baum"], name="other"))


def test_plan_of_all_rows():
    """Rows sum to one; what is unknown is left to be sampled."""
    target = ["<bos>", " dog", " Haus", " Hausboot", "xyz"]
    _, made = rows(target, [(" Haus", " house", 30), (" Haus", "s", 10)], pairs={0: 0})
    plan = assemble_plan(
        made.combined, made.anchors, make_vocabulary(target, name="target"), rows=6, source_rows=SOURCE.size, seed=0
    )
    dense = plan.crow_indices.new_zeros(6, SOURCE.size).double()
    dense[np.repeat(np.arange(6), plan.crow_indices.diff()), plan.col_indices] = plan.values.double()
    assert dense.sum(1).tolist() == pytest.approx([1, 1, 1, 1, 0, 0], rel=1e-6)
    assert plan.explain(1) == [(OLD[" dog"], 1.0)]
