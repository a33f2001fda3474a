"""A curve survives what a process does not, and goes on behind a checkpoint."""

from __future__ import annotations

import json

import pytest

from salt_ext.adaptation.curve import Curve

LINES = [
    {"phase": 1, "step": 0, "tokens": 0, "seconds": 0.0, "bits_per_byte": 3.0},
    {"phase": 1, "step": 1, "tokens": 10, "seconds": 1.0, "loss": 2.0},
    {"phase": 1, "step": 2, "tokens": 20, "seconds": 2.0, "loss": 1.5},
    {"phase": 2, "step": 1, "tokens": 30, "seconds": 3.5, "bits_per_byte": 2.0, "source_bits_per_byte": 1.0},
]


@pytest.fixture
def curve(tmp_path):
    made = Curve(tmp_path / "curve.jsonl")
    for line in LINES:
        made.add(line)
    return made


def test_lines_are_read_again_and_half_a_line_is_forgotten(curve, tmp_path):
    file = tmp_path / "curve.jsonl"
    assert [json.loads(line) for line in file.read_text().splitlines()] == LINES
    assert (Curve(file).lines, Curve(file).seconds) == (LINES, 3.5)
    file.write_bytes(file.read_bytes()[:-4])
    assert (Curve(file).lines, Curve(file).seconds) == (LINES[:3], 2.0)


@pytest.mark.parametrize(("behind", "left"), [((0, 0), 0), ((1, 0), 1), ((1, 1), 2), ((1, 9), 3), ((2, 1), 4)])
def test_what_came_behind_a_checkpoint_is_forgotten(curve, tmp_path, behind, left):
    curve.keep(*behind)
    assert curve.lines == LINES[:left]
    assert Curve(tmp_path / "curve.jsonl").lines == LINES[:left]
