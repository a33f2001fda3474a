"""Wrong answers of other tools, each named, which must not come back here."""

from __future__ import annotations

import pytest

from salt_ext.tokenizer import build_target
from salt_ext.vocab import match_vocabularies


def test_bug_prefix_stripping_gives_sentencepiece_umlaut_the_row_of_a_raw_byte(real) -> None:
    """Stripping `▁` and `Ġ` and comparing spellings pairs SentencePiece `ä` with the byte-level letter of 0xE4."""
    source, target = real("models/en-llama"), real("tokenizers/mistral-v1")
    row = anchored(source, target)
    spelling = source.vocabulary.tokens
    for character in "äöüß":
        new = target.vocabulary.tokens.index(character)
        assert source.tokenizer.decode([row[new]]) == character
        assert spelling[row[new]] != character
    raw = target.vocabulary.tokens.index("<0xE4>")
    assert spelling[row[raw]] == "ä"


def test_bug_prefix_stripping_misses_half_of_the_byte_bpe_sentencepiece_overlap(real) -> None:
    """Not every shared token is plain ASCII behind one marker: the byte alphabet has to be read."""
    source, target = real("tokenizers/qwen2.5"), real("tokenizers/xlm-roberta")
    row = anchored(source, target)

    def strip_marker(vocabulary) -> dict[int, tuple[bool, str]]:
        spelt = {n: t for n, t in enumerate(vocabulary.tokens) if t and n not in vocabulary.special_ids}
        return {n: (t[0] in "Ġ▁", t.lstrip("Ġ▁")) for n, t in spelt.items()}

    there = set(strip_marker(source.vocabulary).values())
    stripping = {new for new, spelling in strip_marker(target.vocabulary).items() if spelling in there}
    assert len(row) > 50_000
    assert len(row.keys() - stripping) > len(row) / 2


def test_bug_no_wordpiece_overlap_at_all(real) -> None:
    """A tool that looks for `Ġhouse` or `▁house` in a WordPiece vocabulary finds none of its words."""
    source, target = real("models/en-llama"), real("minilm")
    row = anchored(source, target)
    vocabulary = target.vocabulary.tokens
    pairs = {(vocabulary[new], source.vocabulary.tokens[old]) for new, old in row.items()}
    assert {("house", "Ġhouse"), ("##ing", "ing"), ("the", "Ġthe"), (",", ",")} <= pairs
    assert len(row) > 5_000
    assert sum(vocabulary[new].startswith("##") for new in row) > 500


@pytest.mark.parametrize("name", ["tokenizers/gpt2", "tokenizers/qwen2.5", "models/en-llama"])
def test_bug_decoding_to_text_merges_all_partial_characters(real, name) -> None:
    """Decoded one by one, hundreds of tokens are the same replacement character; their bytes all differ."""
    opened = real(name)
    forms = {number: form for number, form in enumerate(opened.vocabulary.forms) if form is not None}
    decoded = opened.tokenizer.backend_tokenizer.decode_batch([[number] for number in forms])
    partial = [form for form, text in zip(forms.values(), decoded, strict=True) if text == "\ufffd"]
    assert len(partial) > 100
    assert len(set(forms.values())) == len(forms)


@pytest.mark.parametrize("name", ["tokenizers/gemma2", "tokenizers/qwen2.5"])
def test_bug_whitespace_runs_collapse(real, name) -> None:
    """Stripped, every run of spaces, tabs and newlines is the same empty text."""
    opened = real(name)
    blank = [form for form in opened.vocabulary.forms if form is not None and not form.written.strip()]
    literal = {form.written for form in blank}
    assert len(literal) > 20
    assert len(blank) - len(literal) == (5 if name.endswith("gemma2") else 0)  # the twins <0x0A> to <0x0D> and <0x20>


def test_bug_html_tag_takes_the_row_of_a_special_token(real) -> None:
    """In Gemma `<s>` is the tag of struck-out text; by spelling it would become the beginning of a sequence."""
    source, target = real("tokenizers/mistral-v1"), real("tokenizers/gemma2")
    row = anchored(source, target)
    tag = target.vocabulary.tokens.index("<s>")
    assert target.vocabulary.forms[tag].text == "<s>"
    assert tag not in row
    pairs = build_target(source.tokenizer, target.tokenizer).pairs
    assert tag not in pairs
    assert pairs[target.vocabulary.tokens.index("<bos>")] == source.vocabulary.tokens.index("<s>")


def anchored(source, target) -> dict[int, int]:
    anchors = match_vocabularies(source.vocabulary, target.vocabulary)
    return dict(zip(anchors.target_ids.tolist(), anchors.source_ids.tolist(), strict=True))
