"""Left-out anchors: the figures against the formulas written out, and what they say of good and of broken methods."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from factories import make_anchors, make_vocabulary, words

from salt_ext.comparison.heldout import FOLDS, choose_folds, held_out_score, score_rows
from salt_ext.comparison.method_spec import MethodSpec
from salt_ext.errors import InputError
from salt_ext.methods import Combinations, MethodInfo, MethodInputs
from salt_ext.methods.controls.mean import Mean
from salt_ext.methods.controls.random import Random
from salt_ext.methods.focus import Focus
from salt_ext.methods.salt.salt import Salt
from salt_ext.plan import Provenance

SIZE, SHARED, WIDTH = 500, 400, 12


@pytest.fixture(scope="module")
def world() -> MethodInputs:
    """A donor whose rows are a linear map of the source's, with noise, and vectors that are another."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    source = noise(SIZE, WIDTH) + 3  # what all rows share must not count
    partners = torch.randperm(SIZE, generator=generator)
    donor = source[partners] @ noise(WIDTH, 2 * WIDTH) + 0.1 * noise(SIZE, 2 * WIDTH)
    vectors = (source - 3)[partners] @ noise(WIDTH, 8) + 0.1 * noise(SIZE, 8)
    return MethodInputs(
        source=make_vocabulary(words(SIZE)),
        target=make_vocabulary(words(SIZE)),
        anchors=make_anchors(dict(enumerate(partners[:SHARED].tolist()))),
        read_donor=lambda: donor,
        read_auxiliary=lambda: vectors,
        read_source=lambda: source,
    )


@dataclass(frozen=True)
class Permuted:
    """FOCUS with every row given to another token."""

    info: ClassVar[MethodInfo] = MethodInfo(name="permuted", summary="", paper="", cost="")

    def combine(self, material: MethodInputs) -> Combinations:
        combined = Focus().combine(material)
        return replace(combined, target_ids=np.random.default_rng(1).permutation(combined.target_ids))


@dataclass(frozen=True)
class Spy:
    """Notes what it is given."""

    info: ClassVar[MethodInfo] = MethodInfo(name="spy", summary="", paper="", cost="")
    seen: list[MethodInputs]

    def combine(self, material: MethodInputs) -> Combinations:
        self.seen.append(material)
        return Combinations.none(fallback=Provenance.AVERAGED)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_figures_are_the_formulas(dtype):
    """Token by token, in float64."""
    generator = np.random.default_rng(0)
    table = torch.from_numpy(generator.normal(1, 1, size=(9000, 5))).to(dtype)  # more rows than a block
    candidates = generator.choice(9000, size=8000, replace=False)
    wanted = generator.choice(candidates, size=50, replace=False)
    made = table[wanted].double().numpy() + generator.normal(0, 0.5, size=(50, 5))
    rows = table.double().numpy()
    centre = rows[candidates].mean(axis=0)
    cosines, reciprocals = [], []
    for row, true in zip(made, wanted, strict=True):

        def cosine(other: int, row: np.ndarray = row) -> float:
            a, b = row - centre, rows[other] - centre
            return float(a @ b / math.sqrt(a @ a) / math.sqrt(b @ b))

        cosines.append(cosine(true))
        nearer = sum(cosine(other) > cosines[-1] + 1e-12 for other in candidates)
        reciprocals.append(1 / (1 + nearer))
    ratio = sum(math.sqrt(r @ r) for r in made) / sum(math.sqrt(rows[n] @ rows[n]) for n in wanted)
    score = score_rows(made, wanted, table, np.concatenate([candidates, candidates[:5]]))
    assert score.cosine == pytest.approx(np.mean(cosines), rel=1e-12)
    assert score.reciprocal_rank == pytest.approx(np.mean(reciprocals), rel=1e-12)
    assert score.norm_ratio == pytest.approx(ratio, rel=1e-12)


def test_true_rows_are_perfect_and_the_centre_is_a_tie():
    table = torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]])  # their mean is zero
    ids = np.arange(4)
    perfect = score_rows(3 * table.double().numpy(), ids, table, ids)
    assert (perfect.cosine, perfect.reciprocal_rank, perfect.norm_ratio) == pytest.approx((1, 1, 3))
    centre = score_rows(np.zeros((4, 2)), ids, table, ids)
    # All four are equally far: the middle of the ranks 1 to 4.
    assert (centre.cosine, centre.reciprocal_rank, centre.norm_ratio) == pytest.approx((0, 1 / 2.5, 0))


def test_folds_are_disjoint_seeded_and_of_text_only():
    shared = make_anchors({n: (n, "byte" if n % 2 else "exact") for n in range(2000)})
    text = np.isin(shared.kinds, ("exact",))
    folds = choose_folds(shared, text, seed=3)
    assert [len(fold) for fold in folds] == [300] * FOLDS
    joined = np.concatenate(folds)
    assert len(np.unique(joined)) == len(joined)
    assert (joined % 2 == 0).all()
    assert all((a == b).all() for a, b in zip(folds, choose_folds(shared, text, seed=3), strict=True))
    assert any((a != b).any() for a, b in zip(folds, choose_folds(shared, text, seed=4), strict=True))
    few = make_anchors({n: n for n in range(10)})
    assert [len(fold) for fold in choose_folds(few, few.kinds == "exact", seed=0)] == [3, 3, 3]


def test_too_few_anchors():
    few = make_anchors({n: n for n in range(5)})
    with pytest.raises(InputError, match="share 5 text tokens, expected at least 6"):
        choose_folds(few, few.kinds == "exact", seed=0)


def test_the_method_never_sees_what_is_left_out(world):
    """Nor a twin of it: a source token that serves two target tokens goes with both."""
    sources = world.anchors.source_ids[:300].tolist()
    doubled = replace(world, anchors=make_anchors(dict(enumerate(sources + sources[::3]))))
    spy = Spy([])
    held_out_score(MethodSpec("spy", spy), doubled)
    folds = choose_folds(doubled.anchors, doubled.text_anchors, seed=0)
    assert len(spy.seen) == FOLDS
    for seen, fold in zip(spy.seen, folds, strict=True):
        assert not np.isin(fold, seen.anchors.source_ids).any()
        assert np.isin(np.setdiff1d(doubled.anchors.source_ids, fold), seen.anchors.source_ids).all()
        hidden = doubled.anchors.target_ids[np.isin(doubled.anchors.source_ids, fold)]
        assert np.isin(hidden, seen.new).all()


def test_a_broken_method_is_the_worst_of_the_informed(world):
    scores = {
        name: held_out_score(MethodSpec(name, method), world)
        for name, method in {
            "salt": Salt(ridge=0.1),
            "focus": Focus(),
            "permuted": Permuted(),
            "mean": Mean(),
            "random": Random(),
        }.items()
    }
    assert scores["salt"].cosine > 0.8
    assert scores["focus"].cosine > 0.6
    assert scores["permuted"].cosine < 0.1
    assert max(abs(scores[name].cosine) for name in ("mean", "random")) < 0.15
    assert scores["salt"].reciprocal_rank > 0.5
    for name in ("permuted", "random"):
        assert scores[name].reciprocal_rank < 0.05
    # Random rows are as long as rows that are drawn; the mean is shorter than what it is the mean of.
    assert scores["random"].norm_ratio == pytest.approx(1, abs=0.05)
    assert scores["mean"].norm_ratio < 0.97


def test_what_a_method_lacks_is_told_with_its_name(world):
    lone = replace(world, anchors=make_anchors({0: 1}))
    with pytest.raises(InputError, match=r"^method salt:ridge=1: .* SALT needs at least 2"):
        MethodSpec("salt:ridge=1", Salt(ridge=1)).plan(lone, rows=SIZE)
