"""What the method makes of anchors and vectors, row by row; the formula itself is tested in test_transfer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from factories import make_anchors, make_vocabulary, words

from salt_ext.errors import InputError
from salt_ext.methods import Combinations, MethodInputs, assemble_plan
from salt_ext.methods.salt.salt import Salt
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.vocab import Anchors, Vocabulary

VOCABULARY = make_vocabulary(words(12))


def material(vectors: torch.Tensor, donor: torch.Tensor, shared: Anchors, target: Vocabulary, **more) -> MethodInputs:
    return MethodInputs(
        source=VOCABULARY,
        target=target,
        anchors=shared,
        read_donor=lambda: donor,
        read_auxiliary=lambda: vectors,
        read_source=lambda: pytest.fail("SALT does not need the source's table"),
        **more,
    )


def salt_plan(
    vectors: torch.Tensor,
    donor: torch.Tensor,
    shared: Anchors,
    target: Vocabulary,
    *,
    source_rows: int,
    method: Salt | None = None,
    **more,
) -> TransferPlan:
    combined = (method or Salt()).combine(material(vectors, donor, shared, target, **more))
    return assemble_plan(combined, shared, target, rows=target.size, source_rows=source_rows, seed=0)


PAIRS = {0: (5, "special"), 1: (9, "exact"), 2: (3, "exact"), 3: (8, "byte"), 4: (2, "case"), 6: (7, "exact")}
ANCHORS = make_anchors(PAIRS)


@pytest.fixture
def vectors() -> torch.Tensor:
    return torch.randn(12, 4, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def donor() -> torch.Tensor:
    return torch.randn(14, 6, generator=torch.Generator().manual_seed(1))


def test_provenance_of_every_row(vectors, donor):
    vectors[8] = 0  # no auxiliary vector
    donor[9] = 0  # no donor row
    target = make_vocabulary(["<s>", *words(9), "</s>", None])
    plan = salt_plan(vectors, donor, ANCHORS, target, source_rows=10)
    kinds = [Provenance(int(kind)).name[0] for kind in plan.provenance]
    #                0 special anchor, 1-4 and 6 anchors, 8 no vector, 9 no row, 10 special, 11 hole
    assert "".join(kinds) == "CCCCCRCRSSAA"
    assert [plan.explain(n) for n in (0, 1, 2, 3, 4, 6)] == [[(source, 1.0)] for source, _ in PAIRS.values()]
    assert torch.equal(plan.residual.isnan(), plan.provenance != Provenance.REGRESSED)


def test_only_text_anchors_with_a_vector_explain_others(vectors, donor):
    vectors[6] = 0
    plan = salt_plan(vectors, donor, ANCHORS, VOCABULARY, source_rows=10)
    used = {source for n in plan.rows(Provenance.REGRESSED).tolist() for source, _ in plan.explain(n)}
    assert used <= {9, 3, 2}
    assert len(plan.explain(6)) == 1  # still copied itself


def test_a_token_like_an_anchor_gets_its_row(vectors, donor):
    """Same vector, same donor row: the anchor has the largest similarity, and the fit is exact."""
    vectors[7], donor[7] = 3 * vectors[1], donor[1]
    plan = salt_plan(vectors, donor, ANCHORS, VOCABULARY, source_rows=10)
    weights = dict(plan.explain(7))
    assert weights[9] == pytest.approx(1, abs=1e-6)
    assert all(abs(weight) < 1e-6 for source, weight in weights.items() if source != 9)
    assert plan.residual[7] < 1e-5


def test_residual_is_the_distance_to_the_span(vectors, donor):
    plan = salt_plan(vectors, donor, ANCHORS, VOCABULARY, source_rows=10)
    targets = {source: target for target, (source, _) in PAIRS.items()}
    for n in plan.rows(Provenance.REGRESSED).tolist():
        rows = donor[[targets[source] for source, _ in plan.explain(n)]].double().numpy()
        query = donor[n].double().numpy()
        solution = np.linalg.lstsq(rows.T, query, rcond=None)[0]
        expected = np.linalg.norm(query - solution @ rows) / np.linalg.norm(query)
        assert float(plan.residual[n]) == pytest.approx(expected, abs=1e-5)


def test_bfloat16_and_float64_donors(vectors, donor):
    tables = (donor.bfloat16(), donor.bfloat16().double())
    plans = [salt_plan(vectors, table, ANCHORS, VOCABULARY, source_rows=10) for table in tables]
    assert torch.equal(plans[0].values, plans[1].values)


def test_nothing_new_needs_no_keys(vectors, donor):
    pairs = {n: (n, "byte") for n in range(12)}
    plan = salt_plan(vectors, donor, make_anchors(pairs), VOCABULARY, source_rows=12)
    assert len(plan.rows(Provenance.COPIED)) == 12


def test_too_few_keys_are_counted(vectors, donor):
    pairs = {0: (0, "special"), 1: (1, "byte"), 2: (2, "exact")}
    with pytest.raises(InputError, match=r"3 anchors \(1 byte, 1 exact, 1 special\), of which 1 are text"):
        salt_plan(vectors, donor, make_anchors(pairs), VOCABULARY, source_rows=10)
    with pytest.raises(InputError, match=r"0 anchors \(none at all\), of which 0"):
        salt_plan(vectors, donor, make_anchors({}), VOCABULARY, source_rows=10)


@pytest.mark.parametrize(("rows", "columns"), [(11, 4), (0, 4)])
def test_tables_with_too_few_rows(rows, columns, vectors, donor):
    with pytest.raises(InputError, match=r"auxiliary vectors: found shape .* expected \[12 or more"):
        salt_plan(vectors[:rows, :columns], donor, ANCHORS, VOCABULARY, source_rows=10)
    with pytest.raises(InputError, match=r"donor table: found shape .* expected \[12 or more"):
        salt_plan(vectors, donor[:rows], ANCHORS, VOCABULARY, source_rows=10)


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 0), ("temperature", float("inf")), ("ridge", -0.1), ("rcond", -1.0)]
)
def test_options_out_of_range(name, value):
    with pytest.raises(InputError, match=f"{name} is"):
        Salt(**{name: value})


def test_options_change_the_weights(vectors, donor):
    plans = [
        salt_plan(vectors, donor, ANCHORS, VOCABULARY, source_rows=10, method=method)
        for method in (Salt(), Salt(temperature=0.05), Salt(ridge=10.0), Salt(rcond=0.99))
    ]
    rows = plans[0].rows(Provenance.REGRESSED)
    sizes = [int(plan.crow_indices.diff()[rows].sum()) for plan in plans]
    assert sizes[1] < sizes[0] == sizes[2] == sizes[3]
    norms = [float(plan.values.norm()) for plan in plans]
    assert norms[2] < norms[0]
    assert norms[3] < norms[0]


def test_a_fit_with_few_dimensions_for_each_neighbour_warns(vectors, donor):
    """Four text anchors, at most four neighbours: tight in 6 dimensions, roomy in 60; a ridge is the cure."""
    wide = torch.randn(14, 60, generator=torch.Generator().manual_seed(2))

    def warnings(table: torch.Tensor, **options: float) -> tuple[str, ...]:
        given = material(vectors, table, ANCHORS, VOCABULARY)
        return Salt(temperature=50.0, **options).combine(given).warnings

    (warning,) = warnings(donor)
    assert "4 neighbours (median) for the donor's 6 dimensions" in warning
    assert warnings(wide) == ()
    assert warnings(donor, ridge=0.1) == ()


def test_progress_reaches_the_end(vectors, donor):
    told: list[tuple[int, int]] = []
    salt_plan(
        vectors,
        donor,
        ANCHORS,
        VOCABULARY,
        source_rows=10,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told[-1] == (6, 6)


def test_a_source_row_named_twice_counts_with_both_weights():
    """Two anchors of one source token may stand in one support."""
    combined = Combinations(
        target_ids=np.array([3, 2]),
        lengths=np.array([3, 0]),
        source_ids=np.array([4, 1, 4]),
        values=np.array([0.5, 2.0, 0.25], dtype=np.float32),
        residual=np.array([0.1, np.nan], dtype=np.float32),
    )
    pairs = {0: (4, "exact"), 1: (4, "case")}
    plan = assemble_plan(combined, make_anchors(pairs), make_vocabulary(words(4)), rows=6, source_rows=5, seed=3)
    assert plan.explain(3) == [(1, 2.0), (4, 0.75)]
    assert plan.provenance.tolist() == [0, 0, 3, 1, 4, 4]
    assert plan.seed == 3
