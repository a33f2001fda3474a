"""Tokens without a vector: drawn at random by the paper's methods, made of their pieces by our own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from salt_ext.comparison.method_spec import MethodSpec
from salt_ext.methods import assemble_plan
from salt_ext.plan import Provenance

OURS = ["salt:ridge=0.1", "salt:intercept=true", "global", "omp:intercept=true;k=2"]
PUBLISHED = ["salt", "salt:temperature=0.5", "focus", "omp:k=2"]


def plan_of(label, pair):
    """The pair's three new words, the last one without a row in either of the donor's tables."""
    material, _, _, table = pair
    generator = np.random.default_rng(1)
    donor = torch.from_numpy(generator.normal(size=(material.target.size, 5)).astype(np.float32))
    donor[int(material.new[-1])] = 0
    given = replace(material, read_donor=lambda: donor, read_auxiliary=lambda: donor)
    given = replace(given, read_source=lambda: torch.from_numpy(table))
    combined = MethodSpec.of(label).method.combine(given)
    plan = assemble_plan(
        combined, given.anchors, given.target, rows=given.target.size, source_rows=given.source.size, seed=0
    )
    return combined, plan, int(material.new[-1])


@pytest.mark.parametrize("label", OURS)
def test_ours_are_made_of_pieces(label, pair):
    combined, plan, last = plan_of(label, pair)
    material, cuts, ids, table = pair
    word = next(word for word, number in zip(cuts, material.new.tolist(), strict=True) if number == last)
    assert plan.provenance[last] == Provenance.REGRESSED
    expected = np.mean([table[ids[piece]] for piece in cuts[word]], axis=0)
    kept = replace(plan, norms=type(plan.norms)("kept"))
    np.testing.assert_allclose(kept.apply(torch.from_numpy(table))[last].numpy(), expected, rtol=1e-5, atol=1e-6)
    assert combined.facts["without_vector"] == {"mean_of_pieces": 1, "mean_row": 0}
    assert any("(33.3%) have no vector: 1 are the mean of their pieces, 0 the mean row" in w for w in combined.warnings)


@pytest.mark.parametrize("label", PUBLISHED)
def test_published_ones_are_drawn(label, pair):
    _, plan, last = plan_of(label, pair)
    assert plan.provenance[last] == Provenance.SAMPLED


def test_without_a_tokenizer_the_mean_row(pair):
    material, *rest = pair
    combined, plan, last = plan_of("global", (replace(material, source_tokenizer=None), *rest))
    assert combined.facts["without_vector"] == {"mean_of_pieces": 0, "mean_row": 1}
    assert plan.provenance[last] == Provenance.AVERAGED
