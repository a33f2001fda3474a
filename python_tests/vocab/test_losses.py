"""What does not come back from a tokenizer."""

from __future__ import annotations

import pytest

from salt_ext.vocab.losses import changed_lines, lost_features

LOST = {
    "tokenizers/qwen2.5": [],
    "tokenizers/mistral-v1": [],
    "tokenizers/gemma2": [],
    "tokenizers/focus-de-bpe-50k": [],
    "tokenizers/xlm-roberta": ["line breaks", "tabs", "repeated spaces"],
    "minilm": [
        "capital letters",
        "accents",
        "line breaks",
        "tabs",
        "repeated spaces",
        "the spaces beside punctuation",
    ],
}


@pytest.mark.parametrize("name", sorted(LOST))
def test_lost_features(real, name) -> None:
    assert lost_features(real(name).tokenizer) == LOST[name]


def test_changed_lines(real) -> None:
    lines = ["ein haus", "zwei\tBäume", "das wort", "A"]
    found = changed_lines(real("minilm").tokenizer, lines)
    assert found == (2, "zwei\tBäume", "zwei baume")
    assert changed_lines(real("tokenizers/qwen2.5").tokenizer, lines) is None
    assert changed_lines(real("tokenizers/qwen2.5").tokenizer, []) is None
