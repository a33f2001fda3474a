"""The dense part of a plan, what training added to rows, against float64 sums."""

from __future__ import annotations

from dataclasses import replace

import pytest
import safetensors
import torch

from salt_ext.errors import InputError
from salt_ext.plan import DensePart, Norms, Provenance, TransferPlan

SOURCE, WIDTH = 12, 5


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make_plan(**parts: object) -> TransferPlan:
    """Copied, regressed, regressed, averaged, sampled, padding."""
    given = {
        "crow_indices": torch.tensor([0, 1, 3, 5, 5, 5, 5]),
        "col_indices": torch.tensor([4, 1, 7, 2, 11]),
        "values": torch.tensor([1.0, 0.5, -2.0, 0.25, 0.75]),
        "provenance": torch.tensor([0, 1, 1, 2, 3, 4], dtype=torch.uint8),
        "residual": torch.full((6,), torch.nan),
        "source_rows": SOURCE,
        "seed": 3,
        "dense": part([2, 3, 4]),
    }
    return TransferPlan(**given | parts)  # type: ignore[arg-type]


def part(rows: list[int], *, head: bool = True) -> DensePart:
    count = len(rows)
    return DensePart(
        rows=torch.tensor(rows),
        input=numbers(count, WIDTH, seed=1),
        head=numbers(count, WIDTH, seed=2) if head else None,
        snippets=torch.arange(count),
        moved=torch.rand(count),
    )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("head", [False, True], ids=["input", "head"])
@pytest.mark.parametrize("norms", list(Norms))
def test_is_added_to_its_rows_and_rounded_once(dtype, head, norms):
    table, plan = numbers(SOURCE, WIDTH).to(dtype), make_plan(norms=norms)
    without = replace(plan, dense=None).apply(table.double(), head=head)
    assert plan.dense is not None
    expected = without.clone()
    expected[plan.dense.rows] += (plan.dense.head if head else plan.dense.input).double()
    found = plan.apply(table, head=head)
    assert found.dtype == dtype
    # Half a unit in the last place of what is rounded once.
    torch.testing.assert_close(found.double(), expected, rtol={torch.bfloat16: 2**-8}.get(dtype, 1e-6), atol=1e-6)
    assert torch.equal(found[0], table[4])


def test_a_head_without_numbers_of_its_own_gets_the_inputs():
    table, plan = numbers(SOURCE, WIDTH), make_plan(dense=part([2, 3], head=False))
    assert torch.equal(plan.apply(table, head=True), plan.apply(table))


def test_other_tables_go_without_it():
    plan, other = make_plan(), numbers(SOURCE, WIDTH + 1)
    assert torch.equal(plan.apply(other, learned=False), replace(plan, dense=None).apply(other))
    with pytest.raises(InputError, match=r"table has rows of 6 numbers, expected 5"):
        plan.apply(other)


def test_a_sibling_gets_the_same_differences():
    plan = make_plan()
    assert plan.dense is not None
    first, second = numbers(SOURCE, WIDTH).double(), numbers(SOURCE, WIDTH, seed=8).double()
    moved = [plan.apply(table) - replace(plan, dense=None).apply(table) for table in (first, second)]
    torch.testing.assert_close(moved[0], moved[1], rtol=0, atol=1e-12)
    torch.testing.assert_close(moved[0][plan.dense.rows], plan.dense.input.double(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("head", [False, True], ids=["one table", "a head of its own"])
def test_is_saved(head, tmp_path):
    plan = make_plan(dense=part([1, 4], head=head))
    plan.save(tmp_path / "plan")
    again = TransferPlan.load(tmp_path / "plan").dense
    assert again is not None
    assert plan.dense is not None
    assert (again.head is not None) == head
    for name in ("rows", "input", "snippets", "moved", *(["head"] if head else [])):
        assert torch.equal(getattr(again, name), getattr(plan.dense, name)), name


def test_only_plans_with_it_are_of_the_new_version(tmp_path):
    versions = {}
    for name, dense in {"with": part([1]), "without": None}.items():
        make_plan(dense=dense).save(tmp_path / name)
        with safetensors.safe_open(tmp_path / name, framework="pt") as file:
            versions[name] = file.metadata()["version"]
    assert versions == {"with": "5", "without": "4"}


@pytest.mark.parametrize("row", [0, 5], ids=["copied", "padding"])
def test_no_anchor_and_no_padding_learns(row):
    kinds = Provenance.COPIED, Provenance.PADDING
    assert int(make_plan(dense=None).provenance[row]) in kinds
    with pytest.raises(InputError, match="only rows with provenance REGRESSED, AVERAGED or SAMPLED"):
        make_plan(dense=part([row]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": torch.tensor([3, 2])}, "rows must ascend strictly"),
        ({"input": torch.full((2, WIDTH), torch.inf)}, "input has entries that are not finite"),
        ({"head": torch.zeros(2, WIDTH + 1)}, r"head is torch.float32 \[2, 6\]"),
        ({"moved": torch.zeros(2).double()}, "moved is torch.float64"),
        ({"snippets": torch.zeros(3).long()}, r"snippets is torch.int64 \[3\]"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(InputError, match=f"^dense part: {message}"):
        replace(part([2, 3]), **changes)


def test_rows_beyond_the_table_are_refused():
    with pytest.raises(InputError, match="dense part: rows must lie between 0 and 5"):
        make_plan(dense=part([2, 6]))
