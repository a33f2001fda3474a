"""The verdict follows the facts: each check by itself, on facts that are otherwise those of a good transfer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salt_ext.diagnosis.cuts import Cuts, Length
from salt_ext.diagnosis.donor_audit import Audit, Suspect
from salt_ext.diagnosis.held_out import Group
from salt_ext.diagnosis.text_cost import Cost
from salt_ext.diagnosis.trainings import Series, Training
from salt_ext.diagnosis.verdict import judge

COST = Cost(1000, 2.0, 2.6, 5.0, 1.6, 4.0, 3.0, 0)


@pytest.fixture(scope="module")
def good(diagnosis):
    """Facts of a small transfer, with every figure that is judged put where it should be."""
    facts = diagnosis.facts
    every = Group("all", 900, 0.17, 0.01, 0.01, 0.01, 0.0, 0.1, 1.0)
    return replace(
        facts,
        cost=COST,
        start_warnings=(),
        trainings=(),
        held_out=replace(facts.held_out, all=every),
        map=replace(facts.map, outside=0.02),
        audit=Audit(100, (), 0, 3),
        undertrained=replace(facts.undertrained, leaning=0, made=100),
        cuts=Cuts(tuple(Length(n, 0.0, n, n) for n in range(1, 7)), (), ()),
        states=replace(
            facts.states, said_new=0.4, true_new=0.45, said_too_often=((1, " der", 0.03, 0.02),), anchor_excess=0.01
        ),
    )


def level_of(facts, section: str, title: str = "") -> str:
    (found,) = {r.level for r in judge(facts).reasons if r.section == section and title in r.title}
    return found


def test_good_facts(good):
    verdict = judge(good)
    assert {reason.level for reason in verdict.reasons} == {"good"}
    assert (verdict.word, verdict.headline) == ("good", "A good start.")


@pytest.mark.parametrize(
    ("bits", "level"),
    [(1.6, "good"), (2.34, "good"), (2.36, "look"), (2.599, "look"), (2.6, "bad"), (5.5, "bad")],
)
def test_the_cost_is_judged_by_the_mean_row_and_the_source(good, bits, level):
    """A quarter of the way from 2.6 to 1.6 is 2.35."""
    assert level_of(replace(good, cost=replace(COST, moved=bits)), "cost") == level
    alone = replace(good, cost=replace(COST, moved=bits, source=None))
    assert level_of(alone, "cost") == ("bad" if level == "bad" else "good")


def test_a_source_that_knows_less_of_the_language_than_mean_rows_is_no_measure(good):
    facts = replace(good, cost=replace(COST, source=2.9, moved=2.5))
    assert level_of(facts, "cost") == "good"
    assert not any("of the way" in reason.finding for reason in judge(facts).reasons)


def test_text_that_is_lost(good):
    assert level_of(replace(good, cost=replace(COST, altered=3)), "cost", "lost") == "look"


@pytest.mark.parametrize(
    ("said", "level"), [(0.45, "good"), (0.2, "look"), (0.75, "look"), (0.98, "bad"), (0.05, "bad")]
)
def test_new_tokens_and_anchors_are_in_balance(good, said, level):
    facts = replace(good, states=replace(good.states, said_new=said, true_new=0.45))
    assert level_of(facts, "head", "Balance") == level


@pytest.mark.parametrize(("said", "level"), [(0.06, "good"), (0.08, "look"), (0.45, "bad")])
def test_a_token_that_shouts(good, said, level):
    """The worst anchor is 0.01 beyond its share, so 0.05 is the limit."""
    facts = replace(good, states=replace(good.states, said_too_often=((5, " Zebaoth", said, 0.02),)))
    assert level_of(facts, "head", "too often") == level
    if level != "good":
        assert any("“Zebaoth”" in reason.finding for reason in judge(facts).reasons)


@pytest.mark.parametrize(("cosine", "level"), [(0.05, "good"), (0.035, "bad"), (-0.1, "bad")])
def test_left_out_anchors_are_judged_by_the_random_control(good, cosine, level):
    """0.01 and twice the root of 0.01² + 0.01² is 0.038."""
    facts = replace(good, held_out=replace(good.held_out, all=replace(good.held_out.all, cosine=cosine)))
    assert level_of(facts, "held-out") == level


def test_the_audit_names_its_suspects(good):
    suspect = Suspect(7, " evil", 20.0, 0.5, "length", 40.0)
    facts = replace(good, audit=Audit(100, (suspect,), 1, 1))
    verdict = judge(facts)
    assert verdict.word == "look"
    assert verdict.reasons[0].section == "audit"
    assert "“evil”" in verdict.reasons[0].finding
    assert "one thing" in verdict.headline


def test_numbers(good):
    cut = Cuts(tuple(Length(n, 0.3, n, n - 0.3) for n in range(1, 7)), (), ())
    assert level_of(replace(good, cuts=cut), "cuts") == "look"


def test_rows_that_lean_on_nothing(good):
    assert level_of(replace(good, undertrained=replace(good.undertrained, leaning=6)), "undertrained") == "look"


def test_rows_that_lie_elsewhere(good):
    assert level_of(replace(good, map=replace(good.map, outside=0.4)), "map") == "look"


def test_a_training_that_made_it_worse(good):
    def after(value: float) -> Training:
        return Training("distillation", "tokens", (Series("held-out text", (), 2.0, value),), (), ())

    assert level_of(replace(good, trainings=(after(1.9),)), "trainings") == "good"
    assert level_of(replace(good, trainings=(after(2.1),)), "trainings") == "look"


def test_without_a_text_signs_decide(good):
    """Nothing was measured: a sign of a bad start is then all there is."""
    facts = replace(good, cost=None, states=None)
    assert judge(facts).word == "good"
    assert "not measured" in judge(facts).headline
    assert level_of(facts, "cost") == "unknown"
    warned = replace(facts, start_warnings=("weights do not add up",))
    assert judge(warned).word == "bad"
    assert level_of(replace(good, start_warnings=("weights do not add up",)), "rows") == "look"


def test_what_is_missing_is_unknown_and_no_reason_to_worry(good):
    facts = replace(good, held_out=None, audit=None, cuts=None, undertrained=None, map=None)
    assert judge(facts).word == "good"
    assert level_of(facts, "audit") == "unknown"
    assert level_of(facts, "held-out") == "unknown"


def test_the_worst_comes_first(good):
    facts = replace(good, cost=replace(COST, moved=9.0), map=replace(good.map, outside=0.9), audit=None)
    assert [reason.level for reason in judge(facts).reasons][:3] == ["bad", "look", "unknown"]
    assert judge(facts).word == "bad"
