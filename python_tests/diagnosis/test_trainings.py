"""Curves that trainings leave, read by name; whatever else a line has is passed over."""

from __future__ import annotations

import json
from types import SimpleNamespace

from salt_ext.diagnosis.trainings import find_trainings


def folder_with(tmp_path, lines, *, name="salt_curve.jsonl", report=None):
    if lines is not None:
        (tmp_path / name).write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return SimpleNamespace(folder=tmp_path, report=report or {})


def test_an_adaptation(tmp_path):
    lines = [
        {"phase": 1, "trains": "vocabulary", "step": 0, "tokens": 0, "bits_per_byte": 2.5, "source_bits_per_byte": 1.0},
        {"phase": 1, "trains": "vocabulary", "step": 5, "tokens": 4096, "loss": 3.2, "learning_rate": 1e-4},
        {"phase": 2, "trains": "all", "step": 5, "tokens": 8192, "bits_per_byte": 2.1, "source_bits_per_byte": 1.2},
        '{"phase": 2, "trains": "all", "st',
    ]
    (training,) = find_trainings(folder_with(tmp_path, lines))
    assert (training.name, training.over) == ("salt_curve.jsonl", "tokens")
    bits = {series.label: (series.before, series.after, series.points) for series in training.bits}
    assert bits["bits_per_byte"] == (2.5, 2.1, ((0.0, 2.5), (8192.0, 2.1)))
    assert bits["source_bits_per_byte"][:2] == (1.0, 1.2)
    assert [series.label for series in training.losses] == ["loss"]
    assert training.facts == (("phases", "vocabulary, all"),)


def test_a_distillation(tmp_path):
    part = {
        "bits_per_byte": {"before": 2.4, "after": 2.2},
        "curve": [{"tokens": 100, "hidden": 0.3, "head": 1.5}, {"tokens": 200, "hidden": 0.2, "head": 1.25}],
        "rows": {"learned": 5000, "unreached": 646},
        "moved": {"median": 0.31},
    }
    (training,) = find_trainings(folder_with(tmp_path, None, report={"distillation": part}))
    assert training.name == "distillation"
    assert [(series.before, series.after) for series in training.bits] == [(2.4, 2.2)]
    assert {series.label: series.after for series in training.losses} == {"hidden": 0.2, "head": 1.25}
    assert ("new rows learned", "5,000") in training.facts
    assert ("rows moved by, median", "0.31 of their norm") in training.facts


def test_what_is_no_curve_is_passed_over(tmp_path):
    lines = ["[1, 2]", "null", '{"loss": "low"}', '{"loss": NaN}', '{"loss": true}', "\x00", '{"loss": 1e999}']
    assert find_trainings(folder_with(tmp_path, lines)) == ()
    for part in (5, [], {"curve": 3 * [None], "bits_per_byte": 7, "rows": None, "moved": []}):
        found = find_trainings(folder_with(tmp_path, None, report={"distillation": part}))
        assert all(not training.bits and not training.losses for training in found)


def test_a_long_curve_is_thinned_and_keeps_its_end(tmp_path):
    lines = [{"step": number, "eval_loss": 10 / (number + 1)} for number in range(5000)]
    (training,) = find_trainings(folder_with(tmp_path, lines, name="my-curves.jsonl"))
    (series,) = training.losses
    assert len(series.points) <= 401
    assert series.points[0] == (0.0, 10.0)
    assert series.points[-1] == (4999.0, 10 / 5000)
    assert training.over == "step"
