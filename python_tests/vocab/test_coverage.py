"""Bytes per token and coverage of a text, against counts by hand."""

from __future__ import annotations

import pytest
from factories import make_anchors
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from salt_ext.errors import InputError
from salt_ext.vocab import anchor_coverage, bytes_per_token, encode_lines


@pytest.fixture
def words() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.WordLevel({"[UNK]": 0, "über": 1, "das": 2, "Haus": 3}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.enable_truncation(2)
    backend.enable_padding(length=8)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")


def test_neither_truncation_nor_padding_nor_special_tokens(words) -> None:
    assert encode_lines(words, ["über das Haus", "das"]).tolist() == [1, 2, 3, 2]


def test_bytes_per_token(words) -> None:
    assert bytes_per_token(words, ["über das Haus", "das"]) == (14 + 3) / 4


def test_anchor_coverage(words) -> None:
    assert anchor_coverage(words, ["über das Haus", "das"], make_anchors({2: 2, 9: 9})) == 0.5


@pytest.mark.parametrize("lines", [[], [""], ["", " "]])
def test_no_text(words, lines) -> None:
    with pytest.raises(InputError, match=f"has {len(lines)} lines and no token"):
        bytes_per_token(words, lines)


def test_real_text(real, real_data) -> None:
    """German text costs a German tokenizer fewer tokens than an English one."""
    lines = (real_data / "text/de/law.valid.txt").read_text("utf-8").splitlines()
    german, english = (bytes_per_token(real(name).tokenizer, lines) for name in ("models/de-gpt", "models/en-llama"))
    assert german > 1.3 * english > 1.3
