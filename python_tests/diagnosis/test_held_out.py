"""Left-out anchors by class: what is said of a method that knows all, and of one that knows nothing."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from factories import make_anchors, make_vocabulary

from salt_ext.comparison.method_spec import MethodSpec
from salt_ext.diagnosis.held_out import frequency_classes, held_out
from salt_ext.methods import Combinations, MethodInfo, MethodInputs
from salt_ext.methods.controls.mean import Mean
from salt_ext.methods.controls.random import Random
from salt_ext.plan import Provenance

WIDTH, SIZE = 24, 120
WORDS = [f" w{number}" for number in range(60)] + [f"p{number}" for number in range(40)] + [f"{n}" for n in range(20)]


@dataclass(frozen=True)
class Neighbour:
    """Makes each row of the source token behind its own, which in the table below is nearly the same."""

    info: ClassVar[MethodInfo] = MethodInfo(name="neighbour", summary="", paper="", cost="")

    def combine(self, material: MethodInputs) -> Combinations:
        new = material.new
        return Combinations(new, np.ones(len(new), dtype=np.int64), new + SIZE, np.ones(len(new), dtype=np.float32))


@pytest.fixture(scope="module")
def table() -> torch.Tensor:
    """The second half repeats the first with a little noise; all share a large part."""
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(SIZE, WIDTH, generator=generator)
    return torch.cat([half, half + 0.01 * torch.randn(SIZE, WIDTH, generator=generator)]) + 2


@pytest.fixture(scope="module")
def transferred(table):
    """What `held_out` is given, for a method."""
    material = MethodInputs(
        source=make_vocabulary([*WORDS, *(f" other{n}" for n in range(SIZE))]),
        target=make_vocabulary(WORDS),
        anchors=make_anchors({number: number for number in range(SIZE)}),
        read_donor=lambda: pytest.fail("not needed"),
        read_auxiliary=lambda: pytest.fail("not needed"),
        read_source=lambda: table,
    )
    tables = SimpleNamespace(material=lambda anchors, seed: material)
    return lambda method: SimpleNamespace(
        tables=tables, anchors=material.anchors, seed=0, method=MethodSpec("a method", method)
    )


def test_a_method_that_knows_all(transferred):
    found = held_out(transferred(Neighbour()), None)
    assert found.all.cosine > 0.999
    assert found.all.reciprocal_rank == 1
    assert found.all.norm_ratio == pytest.approx(1, abs=0.01)
    assert found.all.cosine > found.all.random + 0.5
    assert found.worst[0][1] <= found.best[-1][1]


def test_a_method_that_knows_nothing_is_its_control(transferred, table):
    mean = held_out(transferred(Mean()), None).all
    assert mean.cosine == pytest.approx(mean.mean, abs=1e-6)  # a plan makes it in float32
    drawn = held_out(transferred(Random()), None).all
    margin = 3 * (drawn.error**2 + drawn.random_error**2) ** 0.5
    assert abs(drawn.cosine - drawn.random) < margin


def test_the_random_control_is_as_long_as_the_row_in_whose_place_it_stands(transferred, table):
    """Drawn at random and as long as the made rows, its cosines are those of numpy, drawn a hundred times."""
    generator = np.random.default_rng(5)
    rows = table[:SIZE].double().numpy()
    centre = rows.mean(axis=0)
    drawn = generator.normal(size=(100, SIZE, WIDTH))
    lengths = np.linalg.norm(table[SIZE:].double().numpy(), axis=1)
    drawn *= (lengths / np.linalg.norm(drawn, axis=2))[..., None]
    a, b = drawn - centre, rows - centre
    cosines = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    found = held_out(transferred(Neighbour()), None).all
    assert abs(found.random - cosines.mean()) < 4 * cosines.mean(axis=1).std()


def test_kinds_and_frequencies_share_out_all_tokens(transferred):
    counts = np.zeros(SIZE, dtype=np.int64)
    counts[:30], counts[30:50], counts[50] = 5, 50, 1000
    found = held_out(transferred(Neighbour()), counts)
    assert {group.label: group.tokens for group in found.by_kind} == {
        "Latin, begins a word": 60, "Latin, inside a word": 40, "digits": 20
    }  # fmt: skip
    assert {group.label: group.tokens for group in found.by_frequency} == {
        "not in the text": 69, "1 to 9 times": 30, "10 to 99 times": 20, "100 times and more": 1
    }  # fmt: skip
    weighted = sum(group.tokens * group.cosine for group in found.by_kind) / SIZE
    assert weighted == pytest.approx(found.all.cosine)


def test_few_of_a_kind_are_counted_together(transferred):
    """A mean of three says nothing."""
    made = held_out(transferred(Neighbour()), None)
    assert all(group.tokens >= 8 for group in made.by_kind if group.label != "others")


def test_without_a_text_the_place_in_the_vocabulary_stands_for_the_frequency():
    classes, names, phrase = frequency_classes(np.array([0, 39, 40, 79, 80, 119]), None, 120)
    assert classes.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(names) == 3
    assert "--text" in phrase


def test_a_method_that_makes_all_of_themselves_is_refused(transferred):
    @dataclass(frozen=True)
    class Own:
        info: ClassVar[MethodInfo] = MethodInfo(name="own", summary="", paper="", cost="")

        def combine(self, material: MethodInputs) -> Combinations:
            new = material.new
            ones = np.ones(len(new), dtype=np.int64)
            return Combinations(new, ones, new, ones.astype(np.float32), fallback=Provenance.AVERAGED)

    with pytest.raises(ValueError, match="nothing can be left out"):
        held_out(transferred(Own()), None)
