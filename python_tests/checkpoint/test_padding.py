"""Padding rows: what the source did is recognised, and done again."""

from __future__ import annotations

import pytest

from salt_ext.checkpoint import padded_rows, padding_multiple
from salt_ext.errors import InputError


@pytest.mark.parametrize(
    ("tokens", "rows", "multiple"),
    [
        (32000, 32000, 1),  # round, but not padded
        (50257, 50257, 1),
        (50265, 50257, 1),  # fewer rows than tokens: ids beyond the table are another error
        (50257, 50304, 128),  # 393 * 128
        (151669, 151936, 128),  # Qwen2.5: 1187 * 128
        (151669, 152064, 512),  # its larger models: 297 * 512
        (50254, 50432, 256),  # GPT-NeoX: 197 * 256
        (50277, 50280, 8),
        (100, 65536, 1024),
        (96, 97, 1),
    ],
)
def test_multiple_of_the_source(tokens, rows, multiple):
    assert padding_multiple(tokens, rows) == multiple


@pytest.mark.parametrize(
    ("tokens", "multiple", "rows"), [(100, 1, 100), (100, 64, 128), (128, 64, 128), (129, 64, 192), (7, 3, 9)]
)
def test_padded_rows(tokens, multiple, rows):
    assert padded_rows(tokens, multiple) == rows


@pytest.mark.parametrize("multiple", [0, -8])
def test_a_multiple_must_be_positive(multiple):
    with pytest.raises(InputError, match=f"pad-to-multiple-of is {multiple}; a positive number was expected"):
        padded_rows(100, multiple)
