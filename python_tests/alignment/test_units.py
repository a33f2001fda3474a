"""Which tokens make a word, for tokenizers that spell, split and normalise in every way."""

from __future__ import annotations

import numpy as np
import pytest
from tokenizers import AddedToken

from salt_ext.alignment import read_units
from salt_ext.alignment.corpus import LONGEST_LINE
from salt_ext.alignment.units import word_pieces

from .conftest import ENGLISH, FAMILIES, GERMAN, byte_level, opened


def names(side, line, **options):
    text = read_units(*side, [line], **options)
    return [text.names[number] for number in text.corpus.units.tolist()]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("das kleine Haus", ["das", "kleine", "Haus"]),
        ("  das \t Haus ", ["das", "Haus"]),
        ("Hund, das!", ["Hund", ",", "das", "!"]),
        ("läuft", ["läuft"]),
        ("la\u0308uft das", ["la\u0308uft", "das"]),
        ("", []),
        (" \u00a0\u3000 ", []),
    ],
)
def test_words(trained, family, line, words):
    assert names(trained[family][1], line) == words


def test_digits_and_letters_are_parted(trained):
    assert names(trained["byte-level"][1], "Haus2024 12.5") == ["Haus", "2024", "12", ".", "5"]


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_of_words_are_those_of_the_text(trained, family):
    """Put together, the units are the text's own tokens without special and blank ones, each once and in order."""
    for tokenizer, vocabulary in trained[family]:
        for line in (*ENGLISH, *GERMAN, "unbekannt! 12 3"):
            text = read_units(tokenizer, vocabulary, [line])
            found = [piece for unit in text.corpus.units.tolist() for piece in text.pieces[unit]]
            ids = tokenizer(line, add_special_tokens=False)["input_ids"]
            blank = {number for number in ids if not tokenizer.decode([number]).strip()}
            assert found == [number for number in ids if number not in vocabulary.special_ids | blank]


def test_word_begins_with_its_space(trained):
    """Byte-level tokens of " das" and "das" differ, and so do the units."""
    text = read_units(*trained["byte-level"][1], ["das das"])
    first, second = text.corpus.units.tolist()
    assert first != second
    assert text.names == ["das", "das"]


def test_many_bytes_of_one_letter_are_one_unit(trained):
    """Two tokens that share a letter belong together, even where letters do not join."""
    text = read_units(*trained["byte-level"][0], ["日 日本 🙂"])
    assert [text.names[n] for n in text.corpus.units.tolist()] == ["日", "日", "本", "🙂"]
    assert [len(text.pieces[n]) for n in text.corpus.units.tolist()][2:] == [3, 4]


def test_clitics_are_parted(trained):
    *_, last = names(trained["byte-level"][0], "don't run")
    assert last == "run"
    assert names(trained["wordpiece"][0], "don't") == ["don", "'", "t"]


def test_tokens_as_units(trained):
    side = trained["byte-level"][1]
    text = read_units(*side, ["das unbekannte Haus"], unit="token")
    ids = side.tokenizer("das unbekannte Haus", add_special_tokens=False)["input_ids"]
    assert [text.pieces[unit] for unit in text.corpus.units.tolist()] == [(number,) for number in ids]


def test_special_tokens_in_a_text_are_no_units(trained):
    assert names(trained["byte-level"][1], "<s>das Haus</s>") == ["das", "Haus"]


def test_added_token_with_a_space_inside_has_a_name_without():
    tokenizer = byte_level(ENGLISH)
    tokenizer.add_tokens([AddedToken("New York", normalized=False)])
    assert names(opened(tokenizer, "added"), "the New York dog") == ["the", "NewYork", "dog"]


def test_lines_stay_in_step_and_long_ones_count_as_blank(trained):
    side = trained["wordpiece"][1]
    text = read_units(*side, ["das Haus", "", "das " * LONGEST_LINE, "Hund"])
    assert np.diff(text.corpus.starts).tolist()[1:3] == [0, 0]
    assert len(text.corpus) == 4
    assert text.skipped == 1


def test_progress(trained):
    told = []
    read_units(*trained["unigram"][1], ["das"] * 2000, progress=lambda *done: told.append(done))
    assert told == [(1024, 2000), (2000, 2000)]


@pytest.mark.parametrize("family", FAMILIES)
def test_pieces_of_a_word_are_those_inside_a_text(trained, family):
    tokenizer, vocabulary = trained[family][1]
    text = read_units(tokenizer, vocabulary, ["Hund Haus"])
    inside = text.pieces[text.corpus.units.tolist()[-1]]
    assert word_pieces(tokenizer, vocabulary, ["Haus"]) == [inside]
    (phrase,) = word_pieces(tokenizer, vocabulary, ["Haus  Hund"])
    assert phrase[: len(inside)] == inside
    assert len(phrase) > len(inside)


@pytest.mark.parametrize("name", ["models/de-gpt", "tokenizers/xlm-roberta", "tokenizers/gemma2", "tokenizers/qwen2.5"])
def test_real_tokenizers_agree_on_the_words(real, name):
    """Whatever a tokenizer does, the words of a real text are those of a split at everything but letters."""
    lines = [
        "Die Häuser der großen Städte stehen über den Straßen.",
        "Früh am Morgen öffnen Bäcker ihre Türen",
        "Cộng hòa xã hội chủ nghĩa Việt Nam",
    ]
    for line in lines:
        assert names(real(name), line) == line.replace(".", " .").split()
