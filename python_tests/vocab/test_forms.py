"""Forms: a one-to-one image of the bytes that a token writes; encoded text is the sum of its tokens' forms."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salt_ext.vocab import Form, encode_lines
from salt_ext.vocab.forms import Spelling

# Without surrogates, which are no text, and U+2581, which SentencePiece itself cannot tell from a space.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁"), max_size=40)
BYTE_LEVEL = Spelling("byte-level BPE", byte_alphabet=True)
SENTENCEPIECE = Spelling("SentencePiece BPE", byte_fallback=True, replacements=(("▁", " "),))
WORDPIECE = Spelling("WordPiece", unmarked_begins_word=True, continuing_prefix="##", attached=(",",))


@given(st.binary())
def test_form_is_one_to_one(data: bytes) -> None:
    form = Form.of(data)
    assert form.written == data
    assert form.begins_word == data.startswith(b" ")


@pytest.mark.parametrize(
    ("spelling", "piece", "form"),
    [
        (BYTE_LEVEL, "ĠHaus", Form(b"Haus", True)),
        (SENTENCEPIECE, "▁Haus", Form(b"Haus", True)),
        (WORDPIECE, "Haus", Form(b"Haus", True)),
        (BYTE_LEVEL, "haus", Form(b"haus", False)),
        (SENTENCEPIECE, "haus", Form(b"haus", False)),
        (WORDPIECE, "##haus", Form(b"haus", False)),
        (WORDPIECE, ",", Form(b",", False)),
        (BYTE_LEVEL, "Ã¤", Form("ä".encode(), False)),
        (BYTE_LEVEL, "ä", Form(b"\xe4", False)),
        (SENTENCEPIECE, "ä", Form("ä".encode(), False)),
        (SENTENCEPIECE, "<0xE4>", Form(b"\xe4", False)),
        (SENTENCEPIECE, "<0x20>", Form(b"", True)),
        (SENTENCEPIECE, "<0xZZ>", Form(b"<0xZZ>", False)),
        (BYTE_LEVEL, "<0xE4>", Form(b"<0xE4>", False)),
        (BYTE_LEVEL, "Ġ", Form(b"", True)),
        (SENTENCEPIECE, "▁", Form(b"", True)),
        (BYTE_LEVEL, "ĠĠ", Form(b" ", True)),
        (SENTENCEPIECE, "▁▁", Form(b" ", True)),
        (BYTE_LEVEL, "ĠĊ", Form(b"\n", True)),
        (BYTE_LEVEL, "Ċ", Form(b"\n", False)),
        (SENTENCEPIECE, "a▁b", Form(b"a b", False)),
    ],
)
def test_pieces(spelling: Spelling, piece: str, form: Form) -> None:
    assert spelling.form(piece) == form


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"Haus", "Haus"), (b"  a\n", "a"), ("ä".encode(), "ä"), (b"\xe4", None), (b"", None), (b" \n", None)],
)
def test_text(data: bytes, text: str | None) -> None:
    assert Form(data, False).text == text


def test_an_added_token_is_literal(trained) -> None:
    """`Überschrift` is matched as it stands, although `Ü` is also the letter of byte 0xDC."""
    opened = trained["byte-level"]
    (number,) = opened.tokenizer.encode("Überschrift", add_special_tokens=False)
    assert opened.vocabulary.forms[number] == Form("Überschrift".encode(), False)
    (number,) = opened.tokenizer.encode("  ", add_special_tokens=False)
    assert opened.vocabulary.forms[number] == Form(b" ", True)


@pytest.mark.parametrize("name", ["byte-level", "metaspace"])
def test_encoded_text_is_the_sum_of_its_forms(trained, sentences, name) -> None:
    opened = trained[name]

    @given(st.one_of(TEXT, st.lists(st.sampled_from(sentences)).map("".join)))
    def check(text: str) -> None:
        assert spelt_out(opened, text) == text.encode()

    check()


@pytest.mark.parametrize("name", ["byte-level", "metaspace"])
def test_training_text_needs_partial_characters(trained, sentences, name) -> None:
    """The property above is worth something only if characters are really cut."""
    opened = trained[name]
    forms = [opened.vocabulary.forms[number] for number in encode_lines(opened.tokenizer, sentences)]
    assert sum(form.text is None and bool(form.data.strip()) for form in forms) > 15


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("tokenizers/gpt2", ""),
        ("tokenizers/qwen2.5", ""),
        ("tokenizers/focus-de-bpe-50k", " "),
        ("models/en-llama", " "),
        ("models/de-gpt", " "),
        ("tokenizers/gemma2", ""),
        # transformers made no space before a text of its tokenizer.model at first, and makes one since.
        ("tokenizers/mistral-v1", None),
    ],
)
def test_real_text_is_the_sum_of_its_forms(real, real_data, name, prefix) -> None:
    opened = real(name)
    if prefix is None:
        (first, *_) = opened.tokenizer.tokenize("Haus")
        prefix = " " * first.startswith("▁")
    lines = some_lines(real_data)
    for line in lines:
        assert spelt_out(opened, line) == (prefix * (not line.startswith(" ")) + line).encode()


@pytest.mark.parametrize("name", ["tokenizers/xlm-roberta", "tokenizers/focus-de-xlmr-unigram-30k", "minilm"])
def test_real_text_is_the_sum_of_its_forms_but_for_spaces(real, real_data, name) -> None:
    """These tokenizers normalise the text first, and put spaces where their pre-tokenizer cuts."""
    opened = real(name)
    unknown = opened.vocabulary.roles["unk"]
    normalise = opened.tokenizer.backend_tokenizer.normalizer.normalize_str
    checked = 0
    for line in some_lines(real_data):
        numbers = encode_lines(opened.tokenizer, [line])
        if unknown not in numbers:
            checked += 1
            data = b"".join(opened.vocabulary.forms[number].written for number in numbers)
            assert re.sub(r"\s", "", data.decode()) == re.sub(r"\s", "", normalise(line))
    assert checked > 200


def some_lines(real_data) -> list[str]:
    files = [f"text/{name}.txt" for name in ("de/docs.valid", "vi/lit.valid", "en/courses.valid", "de/law.valid")]
    return [line for name in files for line in (real_data / name).read_text("utf-8").split("\n")[:150] if line]


def spelt_out(opened, text: str) -> bytes:
    return b"".join(opened.vocabulary.forms[number].written for number in encode_lines(opened.tokenizer, [text]))
