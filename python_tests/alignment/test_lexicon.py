"""Dictionaries, probability tables and Pharaoh alignments: what they say, and what is wrong with them."""

from __future__ import annotations

import pytest

from salt_ext.alignment import read_dictionary, read_pharaoh, read_probabilities, read_units, token_counts, write_units
from salt_ext.alignment.lexicon import Entry, Side, lexicon_counts
from salt_ext.errors import InputError

from .conftest import ENGLISH, GERMAN


@pytest.fixture
def file(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "given.txt"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def sides(trained):
    return [Side(*side) for side in trained["byte-level"]]


def test_dictionary(file):
    entries = read_dictionary(file("\ufeffthe house\tdas Haus\r\n\r\n dog \t Hund\t0.25\r\n"))
    assert entries == [("the house", "das Haus", 1000), ("dog", "Hund", 250)]


def test_probability_table_with_counts_and_without(file):
    assert read_probabilities(file("a\tx\t-0.5\t12.5\n<eps>\ty\t-1\t3\n")) == [("a", "x", 12.5)]
    ((_, _, weight),) = read_probabilities(file("a\tx\t-0.6931471805599453\n<eps>\ty\t-1\n"))
    assert weight == pytest.approx(500)


@pytest.mark.parametrize(
    "line", ["house", "house\t", "\tHaus", "a\tb\tc", "a\tb\t0", "a\tb\t-1", "a\tb\tnan", "a\tb\t1\t2"]
)
def test_bad_lines_of_a_dictionary(file, line):
    with pytest.raises(InputError, match=r"dictionary .*: line 2 is .*, expected source word, tab"):
        read_dictionary(file(f"a\tb\n{line}\n"))


@pytest.mark.parametrize("line", ["a\tb", "a\tb\tx", "a\tb\t0.5", "a\tb\t-1\t-1", "a\tb\t-1\tinf", "a\tb\t-1\t1\t1"])
def test_bad_lines_of_a_probability_table(file, line):
    with pytest.raises(InputError, match=r"probability table .*: line 1 is .*, expected source, target, ln p"):
        read_probabilities(file(f"{line}\n"))


@pytest.mark.parametrize(("data", "message"), [(b"", "is empty"), (b"a\tb\n\xff\tc\n", "not UTF-8: line 2 ")])
def test_unreadable_files(file, data, message):
    with pytest.raises(InputError, match=message):
        read_dictionary(file(data))
    with pytest.raises(InputError, match=r"cannot be read: No such file"):
        read_dictionary(file(data).with_name("absent"))


def test_words_get_their_tokens(sides):
    """Single words hand on whole counts, and phrases and words of several tokens are split."""
    source, target = sides
    house, haus = source.vocabulary.tokens.index("Ġhouse"), target.vocabulary.tokens.index("ĠHaus")
    entries = [Entry("house", "Haus", 1000.0), Entry("house", "das Haus", 1000.0)]
    words = lexicon_counts(entries, source, target, what="given")
    counts = token_counts(words)
    found = dict(zip(zip(counts.target_ids, counts.source_ids, strict=True), counts.counts, strict=True))
    assert found[haus, house] == 1000 + 500 + 500
    assert all(old == house for _, old in found)


def test_only_the_null_word(sides):
    with pytest.raises(InputError, match="given is empty; expected translations"):
        lexicon_counts([], *sides, what="given")


@pytest.mark.parametrize(
    ("lexicon", "target"), [("de", "models/de-gpt"), ("vi", "tokenizers/xlm-roberta"), ("vi", "tokenizers/qwen2.5")]
)
def test_direction_of_real_dictionaries(real, real_data, lexicon, target):
    """Also where the target's tokenizer knows more English than the English one."""
    entries = read_dictionary(real_data / f"dict/wiktionary.en-{lexicon}.tsv")[:4000]
    source, other = Side(*real("models/en-llama")), Side(*real(target))
    lexicon_counts(entries, source, other, what="dictionary")
    swapped = [entry._replace(source=entry.target, target=entry.source) for entry in entries]
    with pytest.raises(InputError, match=r"dictionary is in the wrong direction: of [\d,]+ first words .* first$"):
        lexicon_counts(swapped, source, other, what="dictionary")


@pytest.fixture
def units(sides):
    return [read_units(*side, lines) for side, lines in zip(sides, (ENGLISH, GERMAN), strict=True)]


def test_units_for_another_aligner(tmp_path, units):
    write_units(tmp_path / "units", *units)
    lines = (tmp_path / "units").read_text(encoding="utf-8").split("\n")
    assert lines[0] == "the small house stands here ||| das kleine Haus steht hier"
    assert len(lines) == len(ENGLISH) + 1


def test_a_unit_like_the_separator_does_not_part_the_line(tmp_path, sides):
    text = [read_units(*side, ["a ||| b"]) for side in sides]
    write_units(tmp_path / "units", *text)
    assert (tmp_path / "units").read_text(encoding="utf-8").split(" ").count("|||") == 1


def test_pharaoh(file, units):
    """The house is aligned with itself three times."""
    words = read_pharaoh(file("0-0 1-1 2-2 3-3 4-4\r\n0-0  1-1 \r\n\r\n0-0 1-1 2-2 3-3 4-4\r\n0-0\r\n"), *units)
    counts = {
        (words.source_pieces[s], words.target_pieces[t]): c
        for s, t, c in zip(words.source.tolist(), words.target.tolist(), words.count.tolist(), strict=True)
    }
    source, target = units
    assert sum(counts.values()) == 13
    house = source.pieces[source.corpus.units[source.corpus.starts[1] + 1]]
    haus = target.pieces[target.corpus.units[target.corpus.starts[1] + 1]]
    assert counts[house, haus] == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0-0\n", "has 1 lines, expected 5"),
        ("0-0\n\n0 0\n\n\n", "line 3 is '0 0', expected such as '0-0 1-2'"),
        ("0-0\n\n0-0-1\n\n\n", "line 3 is '0-0-1'"),
        ("0-0\n9-0\n\n\n\n", "line 2 has 9-0, but its source line has 2 units"),
        ("0-0\n0-2\n\n\n\n", "line 2 has 0-2, but its target line has 2 units"),
        (" \n\n \n\n\n", "is empty"),
        (".\n\n\n\n\n", "line 1 is '.'"),
    ],
)
def test_bad_alignments(file, units, text, message):
    with pytest.raises(InputError, match=message):
        read_pharaoh(file(text), *units)
