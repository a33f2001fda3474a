"""Places in a chart: round marks that cover the range, and curves that stay in the frame."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from salt_ext.diagnosis.page.charts import brief_number, line_chart, nice_ticks, steps_of


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.37, 0.41), (-3, 17), (0, 1e6), (1e-9, 2e-9), (5, 5), (0, 0), (-2, -2)]
)
def test_marks_are_round_and_cover_the_range(low, high):
    marks = nice_ticks(low, high, 6)
    assert marks[0] <= low + 1e-12
    assert marks[-1] >= high - 1e-12
    steps = [b - a for a, b in itertools.pairwise(marks)]
    assert 1 <= len(steps) <= 8
    assert max(steps) == pytest.approx(min(steps))
    digits = steps[0] / 10 ** math.floor(math.log10(steps[0]) + 1e-9)
    assert min(abs(digits - round_) for round_ in (1, 2, 5, 10)) < 1e-6


def test_curves_stay_in_their_frame_and_keep_their_order():
    chart = line_chart([("new", "a", [(0, 2.0), (5, 1.0), (10, 3.0)]), ("grey", "b", [(0, 1.5), (10, 1.5)])])
    left, top, right, bottom = chart.frame
    places = [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) ([\d.]+)", chart.lines[0].path)]
    assert all(left <= x <= right and top <= y <= bottom for x, y in places)
    assert places[1][1] > places[0][1] > places[2][1]  # downwards on the screen is less
    assert places[1][0] == pytest.approx((left + right) / 2, abs=0.06)
    assert [line.label for line in chart.lines] == ["a", "b"]


def test_nothing_to_draw():
    assert line_chart([]) is None
    assert line_chart([("new", "a", [])]) is None
    assert line_chart([("new", "a", [(3, 3.0)])]).lines[0].end[0] == 48


def test_a_histogram_is_as_high_as_its_shares():
    assert steps_of((0, 1, 2), (0.25, 0.75)) == [(0, 0), (0, 0.25), (1, 0.25), (1, 0.75), (2, 0.75), (2, 0)]


def test_numbers_beside_an_axis():
    assert [brief_number(n) for n in (0.0, 0.25, 12.0, 12000.0, 3e6)] == ["0", "0.25", "12", "12,000", "3M"]
