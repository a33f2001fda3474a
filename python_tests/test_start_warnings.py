"""Signs of a bad start, each on a plan that was made to show it and on one that is sound."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from salt_ext.pair.table_facts import TableFacts, examine_table
from salt_ext.pipeline.start_warnings import start_warnings, weight_sums
from salt_ext.plan import LowRank, Provenance, TransferPlan

COPIED, NEW = 40, 20
SOUND = torch.full((NEW, 3), 1 / 3)


def plan_of(weights: torch.Tensor, *, fitted: bool = True, drawn: int = 0, low_rank: float | None = None):
    """COPIED anchors, then rows of the first anchors with these weights, then rows that are drawn."""
    (new, count) = weights.shape
    rows = COPIED + new + drawn
    lengths = torch.tensor([1] * COPIED + [count] * new + [0] * drawn)
    dense = None
    if low_rank is not None:
        made = torch.arange(COPIED, COPIED + NEW)
        dense = LowRank(made, torch.ones(NEW, 1), torch.full((1, 2), low_rank / 2), torch.tensor([0, 1]))
    return TransferPlan(
        crow_indices=torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]),
        col_indices=torch.cat([torch.arange(COPIED), torch.arange(count).repeat(new)]),
        values=torch.cat([torch.ones(COPIED), weights.flatten()]),
        provenance=torch.tensor(
            [Provenance.COPIED] * COPIED + [Provenance.REGRESSED] * new + [Provenance.SAMPLED] * drawn,
            dtype=torch.uint8,
        ),
        residual=torch.full((rows,), 0.5 if fitted else torch.nan),
        source_rows=COPIED,
        seed=0,
        low_rank=dense,
    )


def told(plan: TransferPlan, *, mean: float = 2.0, length: float = 1.0, vectors: bool = True) -> list[str]:
    """With rows around a mean of this length, new ones so many times as long as anchors."""
    table = torch.randn(COPIED, 64, generator=torch.Generator().manual_seed(0)).double() / 8
    table[:, 0] += mean
    facts = examine_table(table, name="table", tokens=["t"] * COPIED)
    after = torch.full((plan.target_rows,), length * float(facts.norms.median()), dtype=torch.float64)
    norms = {"text": torch.arange(COPIED), "before": {"table": facts}, "after": {"table": after}}
    return start_warnings(plan, **norms, vectors=vectors)


def test_a_sound_plan_is_not_warned_of():
    assert told(plan_of(SOUND)) == []
    assert told(plan_of(SOUND - 0.2, low_rank=0.6)) == []  # the dense part counts


@pytest.mark.parametrize(
    "weights", [SOUND * 1.3, SOUND * 0.7, SOUND * torch.linspace(0.8, 1.2, NEW)[:, None]], ids=["more", "less", "both"]
)
def test_weights_that_do_not_add_up_to_one_lose_the_mean(weights):
    said = told(plan_of(weights))
    assert len(said) == 1
    assert "add up to" in said[0]
    assert told(plan_of(weights), mean=0.0) == []  # there is nothing in common to lose


def test_theweight_sums_are_those_of_the_rows():
    plan = plan_of(SOUND * torch.arange(1, NEW + 1)[:, None], low_rank=0.25)
    sums, magnitudes = weight_sums(plan, plan.values, torch.arange(COPIED + NEW))
    expected = torch.cat([torch.ones(COPIED), torch.arange(1, NEW + 1) + 0.25])
    torch.testing.assert_close(sums, expected.double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(magnitudes, torch.cat([torch.ones(COPIED), torch.arange(1, NEW + 1)]).double())


def test_a_heads_own_weights_are_looked_at():
    plan = plan_of(SOUND)
    other = replace(plan, head_values=torch.cat([torch.ones(COPIED), (1.5 * SOUND).flatten()]))
    assert ["the head's new rows" in sentence for sentence in told(other)] == [True]


def test_large_weights_extrapolate():
    wild = torch.tensor([[3.0, -2.5, 0.5]]).expand(NEW, 3)
    assert ["extrapolate" in sentence for sentence in told(plan_of(wild))] == [True]
    assert "6.0 in the median" in told(plan_of(wild))[0]


def test_supports_of_one_and_of_nearly_all():
    assert "a single anchor" in told(plan_of(torch.ones(NEW, 1)))[0]
    assert told(plan_of(torch.ones(NEW, 1), fitted=False)) == []  # pieces: one is as good as it gets
    assert "more than half of all anchors" in told(plan_of(torch.full((NEW, 30), 1 / 30)))[0]


def test_norms_far_from_the_anchors():
    for length in (0.4, 1.6):
        assert f"new rows are {length:.2f} times as long" in told(plan_of(SOUND), length=length)[0]
    for length in (0.6, 1.4):
        assert told(plan_of(SOUND), length=length) == []


def test_drawn_rows_are_counted():
    assert told(plan_of(SOUND, drawn=5)) == ["5 of 25 new tokens (20.0%) have no vector: drawn at random"]
    assert told(plan_of(SOUND.repeat(10, 1), drawn=1)) == []
    assert told(plan_of(SOUND, drawn=5), vectors=False) == []  # by a method that draws on purpose


def test_the_mean_row_of_a_table():
    table = torch.randn(300, 7, generator=torch.Generator().manual_seed(1))
    facts: TableFacts = examine_table(table, name="table", tokens=["t"] * 290)
    assert facts.mean_norm == pytest.approx(float(table[:290].double().mean(dim=0).norm()), rel=1e-12)
