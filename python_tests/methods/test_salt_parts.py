"""The parts that SALT's options are made of, each against a direct computation or a planted answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from factories import make_anchors, make_vocabulary, words

from salt_ext.errors import InputError
from salt_ext.methods import MethodInputs
from salt_ext.methods.core import affine_map
from salt_ext.methods.core.anchor_filters import centred_cosines, filter_anchors, undertrained
from salt_ext.methods.salt.salt import Salt
from salt_ext.methods.salt.supports import find_support
from salt_ext.vocab import Form


def related(*, anchors: int = 120, new: int = 20, noise: float = 0.3, seed: int = 0) -> MethodInputs:
    """Token n is the same in both languages; source rows are a linear image of donor rows, and noise."""
    generator = np.random.default_rng(seed)
    donor = generator.normal(size=(anchors + new, 10))
    source = 2 + donor @ generator.normal(size=(10, 16)) + noise * generator.normal(size=(anchors + new, 16))
    auxiliary = donor[:, :6] + 0.3 * generator.normal(size=(anchors + new, 6))
    return MethodInputs(
        source=make_vocabulary(words(anchors + new)),
        target=make_vocabulary(words(anchors + new)),
        anchors=make_anchors({n: n for n in range(anchors)}),
        read_donor=lambda: torch.from_numpy(donor),
        read_auxiliary=lambda: torch.from_numpy(auxiliary),
        read_source=lambda: torch.from_numpy(source),
    )


# The global map


@pytest.mark.parametrize("ridge", [0.0, 0.3, 100.0])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("shape", [(30, 6), (6, 6), (4, 9), (1, 3)])
def test_affine_map(shape, intercept, ridge):
    """The normal equations, solved by NumPy's pseudo-inverse; any table, fitted once."""
    generator = np.random.default_rng(1)
    a = generator.normal(1, 1, shape)
    fitted = affine_map.fit(torch.from_numpy(a), ridge=ridge, intercept=intercept)
    queries = generator.normal(size=(5, shape[1]))
    for width in (1, 7):
        b = generator.normal(3, 1, (shape[0], width))
        a0, b0 = (a.mean(0), b.mean(0)) if intercept else (0 * a[0], 0 * b[0])
        gram = (a - a0).T @ (a - a0)
        gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
        expected = (queries - a0) @ np.linalg.pinv(gram, rcond=1e-12) @ (a - a0).T @ (b - b0) + b0
        made = fitted.domain(torch.from_numpy(queries)) @ (fitted.right @ torch.from_numpy(b))
        assert made.numpy() == pytest.approx(expected, abs=1e-9)


def test_a_map_of_nothing():
    with pytest.raises(InputError, match="needs at least one anchor"):
        affine_map.fit(torch.zeros(0, 3), ridge=1.0)


# Supports


def test_small_supports_are_filled_with_the_nearest():
    angles = torch.tensor([0.0, 0.1, 0.2, 1.0, 2.0, 3.0], dtype=torch.float64)
    keys = torch.stack([angles.cos(), angles.sin()], dim=1)
    keys = torch.cat([keys, torch.zeros(1, 2, dtype=torch.float64)])
    queries = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.02]], dtype=torch.float64)
    plain = find_support(queries, keys, temperature=0.001)
    assert (plain.crow.tolist(), plain.col.tolist()) == ([0, 1, 1, 2], [0, 0])
    filled = find_support(queries, keys, temperature=0.001, minimum=3)
    assert (filled.crow.tolist(), filled.col.tolist()) == ([0, 3, 3, 6], [0, 1, 2, 0, 1, 2])
    assert filled.weights.tolist() == [1.0] * 6  # the least of a row of one
    # More than there are: every key that has a direction.
    most = find_support(queries, keys, temperature=0.001, minimum=100)
    assert most.crow.diff().tolist() == [6, 0, 6]
    # Rows that are large enough stay as they are, to the bit.
    wide, same = (find_support(queries, keys, temperature=1.0, minimum=n) for n in (0, 2))
    assert all(torch.equal(a, b) for a, b in zip(wide, same, strict=True))


def test_a_filled_neighbour_has_the_least_weight_of_its_row():
    keys = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 0.5], [-1.0, 0.0]])
    plain = find_support(torch.tensor([[1.0, 0.1]]), keys, temperature=0.5)
    assert plain.col.tolist() == [1, 2]
    filled = find_support(torch.tensor([[1.0, 0.1]]), keys, temperature=0.5, minimum=3)
    assert filled.col.tolist() == [0, 1, 2]
    assert filled.weights[1:].tolist() == plain.weights.tolist()
    assert filled.weights[0] == plain.weights.min()


def test_centred_cosines():
    made, true, centre = torch.tensor([[2.0, 1.0], [1.0, 1.0]]), torch.tensor([[1.0, 3.0], [5.0, 5.0]]), torch.ones(2)
    assert centred_cosines(made, true, centre).tolist() == [0, 0]  # at right angles; on the centre
    assert centred_cosines(made + 1, true, centre)[0] == pytest.approx((2 * 0 + 1 * 2) / (5**0.5 * 2))


# Anchors that are suspect


def small_table(generator: np.random.Generator, size: int) -> np.ndarray:
    return generator.normal(size=(size, 20)) + 0.5


@pytest.mark.parametrize("where", ["bytes", "holes", "padding"])
def test_rows_like_unreachable_ones_are_undertrained(where):
    """Three of four rows that no text reaches point one way; two tokens point there, too, one only half."""
    generator = np.random.default_rng(3)
    written = words(104)
    if where == "bytes":
        written[100:] = [Form(bytes([byte]), False) for byte in (0xC0, 0xF5, 0xFF, 0xFE)]
    if where == "holes":
        written[100:] = [None] * 4
    table = small_table(generator, 104)
    direction = generator.normal(size=20)
    table[100:103] = 2 * direction + 0.01 * generator.normal(size=(3, 20))
    table[7], table[70] = 0.9 * direction, 1.1 * direction + 0.02 * generator.normal(size=20)
    table[30] += 0.5 * direction
    known = make_vocabulary(written[:100] if where == "padding" else written)
    assert np.flatnonzero(undertrained(torch.from_numpy(table), known)).tolist() == [7, 70]


def test_unreachable_rows_that_disagree_show_nothing():
    generator = np.random.default_rng(4)
    table = small_table(generator, 103)
    table[5] = table[100]
    assert not undertrained(torch.from_numpy(table), make_vocabulary([*words(100), None, None, None])).any()


def test_outlying_norms_are_undertrained():
    table = small_table(np.random.default_rng(5), 200)
    table[11] *= 20
    table[12] /= 100
    table[13] = 0  # no row at all: others look after that
    bad = undertrained(torch.from_numpy(table), make_vocabulary(words(200)))
    assert np.flatnonzero(bad).tolist() == [11, 12]


@pytest.mark.parametrize(("kind", "dropped"), [("undertrained", {40}), ("none", set())])
def test_filtered_anchors_are_copied_but_explain_nothing(kind, dropped):
    material = related(noise=0.05)
    table = material.source_table.clone()
    table[40] *= 50
    material = replace(material, read_source=lambda: table)
    for global_ridge in (None, 1.0):
        combined = Salt(drop_anchors=kind, global_ridge=global_ridge, minimum_neighbours=120).combine(material)
        explaining = set(combined.source_ids)
        if combined.low_rank is not None:
            explaining |= set(combined.low_rank.columns.tolist())
        assert set(range(120)) - explaining == dropped
        assert not np.isin(combined.target_ids, range(120)).any()  # nor made anew
    listed = combined.facts.get("dropped_anchors", {})
    assert {token for found in listed.values() for token in found["first"]} == {f" t{n}" for n in dropped}
    assert sum(found["count"] for found in listed.values()) == len(dropped)
    if kind != "none":
        less, _ = filter_anchors(material, kind)
        assert np.flatnonzero(~less.text_anchors).tolist() == sorted(dropped)
