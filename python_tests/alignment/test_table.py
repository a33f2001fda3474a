"""The alignment table on disk, and text files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from factories import make_vocabulary

from salt_ext.alignment import AlignmentTable, TokenCounts, read_parallel, read_table, write_table
from salt_ext.errors import InputError

SOURCE = make_vocabulary(["<s>", "Ġhouse", None, "a\tb\n"], name="source")
TARGET = make_vocabulary(["Haus", "\u2028", 'say "ja"'], name="target")
COUNTS = TokenCounts(np.array([0, 0, 1, 2]), np.array([1, 3, 3, 0]), np.array([12, 40, 1, 10**9]))


@pytest.fixture
def table():
    return AlignmentTable.of(COUNTS, SOURCE, TARGET, name="table")


@pytest.fixture
def file(tmp_path, table):
    write_table(tmp_path / "table.tsv", table, SOURCE, TARGET)
    return tmp_path / "table.tsv"


def test_comes_back(file, table):
    found = read_table(file)
    for name in ("target_ids", "source_ids", "counts"):
        assert getattr(found.counts, name).tolist() == getattr(COUNTS, name).tolist()
    assert (found.source, found.target) == (table.source, table.target)
    assert [path.name for path in file.parent.iterdir()] == ["table.tsv"]


def test_people_can_read_it(file):
    lines = file.read_text(encoding="utf-8").split("\n")
    assert lines[0].startswith("# salt-ext alignment 1\tsource 4:")
    assert lines[1:] == [
        "target_id\ttarget\tsource_id\tsource\tcount",
        '0\t"Haus"\t3\t"a\\tb\\n"\t40',
        '0\t"Haus"\t1\t"Ġhouse"\t12',
        '1\t"\u2028"\t3\t"a\\tb\\n"\t1',
        '2\t"say \\"ja\\""\t0\t"<s>"\t1000000000',
        "",
    ]


def test_rows_that_people_add_count(file):
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n") + b'0\t""\t1\t""\t3\r\n\r\n')
    assert read_table(file).counts.counts.tolist() == [15, 40, 1, 10**9]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("0\t1\t1\t5", "line 7 is .* expected 5 columns"),
        ("0\tx\t1\ty\tmany", "line 7 is"),
        ("3\tx\t1\ty\t5", "line 7 has ids or a count out of range"),
        ("0\tx\t4\ty\t5", "line 7 has ids"),
        ("0\tx\t-1\ty\t5", "line 7 has ids"),
        ("0\tx\t1\ty\t0", "line 7 has ids"),
        (f"0\tx\t1\ty\t{2**63}", "line 7 has ids"),
    ],
)
def test_damaged_rows(file, row, message):
    file.write_bytes(file.read_bytes() + row.encode())
    with pytest.raises(InputError, match=message):
        read_table(file)


def test_not_a_table_and_an_empty_one(file):
    head = file.read_bytes().split(b"\n")[:2]
    file.write_bytes(b"\n".join(head))
    with pytest.raises(InputError, match="is empty: it aligns no token"):
        read_table(file)
    for content in (b"a\tb\n", head[0], head[1] + b"\n" + head[0]):
        file.write_bytes(content)
        with pytest.raises(InputError, match="expected a table that salt-ext align made"):
            read_table(file)


def test_nothing_aligned():
    with pytest.raises(InputError, match="the alignment is empty: it aligns no token of source with one of target"):
        AlignmentTable.of(TokenCounts(*np.empty((3, 0), dtype=np.int64)), SOURCE, TARGET, name="the alignment")


def test_other_tokenizers(table):
    table.require(SOURCE, TARGET)
    longer = make_vocabulary([*TARGET.tokens, "<|im_start|>"], name="longer")
    table.require(SOURCE, longer)  # markers that a transfer adds stand behind the target's own tokens
    renamed = dataclasses.replace(SOURCE, name="other name")
    table.require(renamed, TARGET)
    exchanged = make_vocabulary([*TARGET.tokens[1::-1], TARGET.tokens[2]], name="exchanged")
    with pytest.raises(InputError, match=r"^table is of another target tokenizer than exchanged: .*3 tokens with hash"):
        table.require(SOURCE, exchanged)
    with pytest.raises(InputError, match="table is of another source tokenizer than shorter"):
        table.require(make_vocabulary(SOURCE.tokens[:-1], name="shorter"), TARGET)
    with pytest.raises(InputError, match="another source tokenizer than target, and of the other way round"):
        table.require(TARGET, SOURCE)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"a\nb\n", ["a", "b"]),
        (b"\xef\xbb\xbfa\r\nb", ["a", "b"]),
        (b"\n\na\n\n", ["", "", "a", ""]),
        ("a\u2028b\x85c\x0bd\n".encode(), ["a\u2028b\x85c\x0bd"]),
        (b"a\rb\n", ["a\rb"]),
    ],
)
def test_lines_of_a_text(tmp_path, data, lines):
    (tmp_path / "text").write_bytes(data)
    assert read_parallel(tmp_path / "text", tmp_path / "text") == (lines, lines)


def test_texts_that_do_not_fit(tmp_path):
    (tmp_path / "two").write_bytes(b"a\nb\n")
    (tmp_path / "three").write_bytes(b"a\nb\n\nc")
    with pytest.raises(InputError, match=r"source text .*two has 2 lines and target text .*three 4; expected line n"):
        read_parallel(tmp_path / "two", tmp_path / "three")
    (tmp_path / "bad").write_bytes(b"a\nb\n\xe4\n")
    with pytest.raises(InputError, match=r"target text .*bad is not UTF-8: line 3 cannot be decoded"):
        read_parallel(tmp_path / "two", tmp_path / "bad")
    (tmp_path / "blank").write_bytes(b" \n\r\n")
    with pytest.raises(InputError, match=r"source text .*blank is empty"):
        read_parallel(tmp_path / "blank", tmp_path / "two")
    with pytest.raises(InputError, match=r"source text .* cannot be read: Is a directory"):
        read_parallel(tmp_path, tmp_path / "two")


def test_a_target_whose_ids_changed_places(table):
    """Of a model that counts positions from its padding token's id, see `salt_ext.tokenizer.places`."""
    after = make_vocabulary(["<pad>", "\u2028", 'say "ja"', "Haus", "<mask>"], name="target")
    with pytest.raises(InputError, match="another target tokenizer"):
        table.require(SOURCE, after)
    found = table.swapped(0, 3, after)
    found.require(SOURCE, after)
    pairs = zip(found.counts.target_ids, found.counts.source_ids, found.counts.counts, strict=True)
    assert {(after.tokens[new], old): count for new, old, count in pairs} == {
        ("Haus", 1): 12,
        ("Haus", 3): 40,
        ("\u2028", 3): 1,
        ('say "ja"', 0): 10**9,
    }
    assert found.counts.target_ids.tolist() == sorted(found.counts.target_ids)
    with pytest.raises(InputError, match="another target tokenizer"):
        table.swapped(1, 3, after).require(SOURCE, after)
