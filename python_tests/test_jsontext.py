"""JSON from anywhere: what Python's own functions trip over is refused, what they read is written again."""

from __future__ import annotations

import json

import pytest

from salt_ext.files.json_text import json_text, read_json


def nested(depth: int) -> str:
    return '{"a": [' * (depth // 2) + "1" + "]}" * (depth // 2)


def test_depth():
    assert read_json(nested(64)) == json.loads(nested(64))
    for depth in (66, 1_000, 200_000):
        with pytest.raises(ValueError, match="nested more than 64 levels"):
            read_json(nested(depth))


def test_numbers_of_many_digits():
    assert read_json(b'{"a": 1' + b"0" * 4000 + b"}") == {"a": 10**4000}
    with pytest.raises(ValueError, match=r"a number of thousands of digits$"):
        read_json('{"eos_token_id": 1' + "0" * 5000 + "}")


@pytest.mark.parametrize("raw", [b"{", b'"\xff"', b"", b"nul"])
def test_what_is_no_json(raw):
    with pytest.raises(ValueError):  # noqa: PT011
        read_json(raw)


def test_half_a_surrogate_pair_comes_back():
    value = {"a\ud800": ["ü\udc80", "日本"], "n": 1.5}
    text = json_text(value)
    assert json.loads(text.encode("utf-8")) == value
    assert "日本" in json_text({"a": "日本"})


def test_strict():
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text({"a": float("nan")}, strict=True)
