"""The map: principal components as numpy finds them, and rows that lie outside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from factories import make_vocabulary, words

from salt_ext.diagnosis.projection import draw_map

COPIED, NEW, WIDTH = 200, 50, 10


@pytest.fixture
def subject(made_up):
    def make(table: np.ndarray):
        copies = {number: number for number in range(COPIED)}
        rows = {number: {0: 1.0} for number in range(COPIED, COPIED + NEW)}
        vocabulary = make_vocabulary(words(COPIED + NEW))
        return made_up(vocabulary, torch.from_numpy(table), copies, rows, source_rows=COPIED)

    return make


def rows(seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(3, 1, size=(COPIED + NEW, WIDTH)) * np.linspace(3, 0.5, WIDTH)


def test_the_plane_is_the_one_of_the_singular_values(subject):
    table = rows(0)
    found = draw_map(subject(table))
    anchors = table[:COPIED]
    centred = anchors - anchors.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    deviations = sizes[:2] / np.sqrt(COPIED)
    expected = (table - anchors.mean(axis=0)) @ axes[:2].T / deviations
    for point in found.points:
        place = expected[point.token_id]
        assert abs(point.x) == pytest.approx(min(abs(place[0]), found.limit), abs=1e-3)
        assert abs(point.y) == pytest.approx(min(abs(place[1]), found.limit), abs=1e-3)
    assert found.explained == pytest.approx((sizes[:2] ** 2).sum() / (sizes**2).sum())
    assert {point.token_id for point in found.points if point.new} == set(range(COPIED, COPIED + NEW))


def test_rows_that_lie_outside_are_counted(subject):
    table = rows(1)
    table[COPIED : COPIED + 20] += 100
    table[COPIED + 20 :] = table[:COPIED].mean(axis=0)
    found = draw_map(subject(table))
    assert found.outside == 0.4
    assert found.inside == 0.6
    far = [point for point in found.points if point.token_id < COPIED + 20 and point.new]
    assert all(max(abs(point.x), abs(point.y)) == found.limit for point in far)


def test_the_sample_is_bounded_and_even(made_up):
    size = 5000
    vocabulary = make_vocabulary(words(size))
    table = torch.randn(size, 4, generator=torch.Generator().manual_seed(0))
    copies = {number: number for number in range(4000)}
    made = {number: {0: 1.0} for number in range(4000, size)}
    found = draw_map(made_up(vocabulary, table, copies, made, source_rows=4000))
    anchors = [point.token_id for point in found.points if not point.new]
    assert len(anchors) <= 1200
    assert np.ptp(np.diff(anchors)) == 0
    assert len(found.points) - len(anchors) == 1000


def test_without_anchors_there_is_no_map(made_up):
    vocabulary = make_vocabulary(words(4))
    assert draw_map(made_up(vocabulary, torch.eye(4), {0: 0}, {1: {0: 1.0}}, source_rows=2)) is None
