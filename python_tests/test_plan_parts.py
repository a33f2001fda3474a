"""The parts of a plan beyond its sparse weights, against float64 arithmetic on dense matrices."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save

from salt_ext.errors import InputError
from salt_ext.plan import Draw, LowRank, Norms, Provenance, TransferPlan

SOURCE, WIDTH = 12, 7
# Rows: copied, regressed with entries and a low-rank part, with entries alone, with the part alone, sampled, averaged.
KINDS = [0, 1, 1, 1, 3, 2]


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def make_plan(**parts: object) -> TransferPlan:
    low_rank = LowRank(
        rows=torch.tensor([1, 3]),
        left=numbers(2, 3, seed=1),
        right=numbers(3, 4, seed=2),
        columns=torch.tensor([9, 2, 5, 0]),
    )
    given = {
        "crow_indices": torch.tensor([0, 1, 3, 5, 5, 5, 5]),
        "col_indices": torch.tensor([4, 1, 7, 2, 11]),
        "values": torch.tensor([1.0, 0.5, -2.0, 0.25, 0.75]),
        "provenance": torch.tensor(KINDS, dtype=torch.uint8),
        "residual": torch.full((6,), torch.nan),
        "source_rows": SOURCE,
        "seed": 3,
        "low_rank": low_rank,
    }
    return TransferPlan(**given | parts)  # type: ignore[arg-type]


def dense(plan: TransferPlan, table: torch.Tensor, values: torch.Tensor | None = None) -> np.ndarray:
    """Rows 1 to 3 by the definition."""
    weights = np.zeros((6, SOURCE))
    owners = np.repeat(np.arange(6), plan.crow_indices.diff().numpy())
    weights[owners, plan.col_indices.numpy()] = (plan.values if values is None else values).double().numpy()
    made = weights @ table.double().numpy()
    part = plan.low_rank
    if part is not None:
        maps = part.right.double().numpy() @ table.double().numpy()[part.columns.numpy()]
        made[part.rows.numpy()] += part.left.double().numpy() @ maps
    return made[1:4]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("block", [1, 1 << 20], ids=["blocks of one row", "one block"])
def test_low_rank_part(dtype, block, monkeypatch):
    monkeypatch.setattr("salt_ext.plan.blocks._BLOCK_BYTES", block)
    plan, table = make_plan(), numbers(SOURCE + 2, WIDTH).to(dtype)
    made = plan.apply(table)
    bound = {torch.float64: 1e-13, torch.float32: 1e-6, torch.bfloat16: 2**-8}[dtype]
    np.testing.assert_allclose(made[1:4].double().numpy(), dense(plan, table[:SOURCE]), rtol=bound, atol=8 * bound)
    assert torch.equal(made[0], table[4])


def test_one_plan_makes_the_map_of_every_table():
    """The map is linear in the table: it is made anew for each, whatever its width."""
    plan = make_plan()
    for width in (1, 3, 40):
        table = numbers(SOURCE, width, seed=width).double()
        np.testing.assert_allclose(plan.apply(table)[1:4].numpy(), dense(plan, table), rtol=1e-12, atol=1e-12)


def test_head_values_make_heads_only():
    other = torch.tensor([1.0, 0.0, 3.0, 1.0, 0.0])
    plan, table = make_plan(head_values=other), numbers(SOURCE, WIDTH)
    for head, values in ((False, None), (True, other)):
        made = plan.apply(table, head=head)[1:4]
        np.testing.assert_allclose(made.numpy(), dense(plan, table, values), rtol=1e-5, atol=1e-6)


def test_norms_are_those_of_the_copied_rows():
    table = numbers(SOURCE, WIDTH)
    kept = dense(make_plan(), table)
    wanted = float(table[4].norm())
    by_factor = make_plan(norms=Norms.FACTOR).apply(table)[1:4].double()
    factor = wanted / np.linalg.norm(kept, axis=1).mean()
    np.testing.assert_allclose(by_factor.numpy(), factor * kept, rtol=1e-5, atol=1e-6)
    # A bias has no norm of its own.
    bias = numbers(SOURCE)
    assert torch.equal(make_plan(norms=Norms.FACTOR).apply(bias), make_plan().apply(bias))


def many(draw: Draw, rows: int = 20_000, seed: int = 5) -> TransferPlan:
    return TransferPlan(
        crow_indices=torch.zeros(rows + 1, dtype=torch.int64),
        col_indices=torch.empty(0, dtype=torch.int64),
        values=torch.empty(0),
        provenance=torch.full((rows,), Provenance.SAMPLED, dtype=torch.uint8),
        residual=torch.full((rows,), torch.nan),
        source_rows=SOURCE,
        seed=seed,
        draw=draw,
    )


def test_draws_have_the_distribution_that_they_are_called_by():
    table = (numbers(SOURCE, 3) @ torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.1]]) + 4).double()
    expected = np.cov(table.numpy().T, bias=True)
    drawn = many(Draw.MULTIVARIATE).apply(table).numpy()
    np.testing.assert_allclose(np.cov(drawn.T), expected, atol=0.04 * expected.max())
    np.testing.assert_allclose(drawn.mean(axis=0), table.mean(dim=0).numpy(), atol=0.05)
    alone = np.cov(many(Draw.INDEPENDENT).apply(table).numpy().T)
    np.testing.assert_allclose(alone, np.diag(np.diag(expected)), atol=0.04 * expected.max())

    anywhere = many(Draw.DIRECTION).apply(table).numpy()
    norms = np.linalg.norm(anywhere, axis=1)
    known = np.sort(table.norm(dim=1).numpy())
    nearest = known[np.abs(norms[:, None] - known).argmin(axis=1)]
    np.testing.assert_allclose(norms, nearest, rtol=1e-12)
    assert len(np.unique(nearest)) == SOURCE
    directions = anywhere / norms[:, None]
    np.testing.assert_allclose(directions.T @ directions / len(directions), np.eye(3) / 3, atol=0.01)


@pytest.mark.parametrize("draw", Draw)
def test_draws_follow_the_seed(draw):
    table = numbers(SOURCE, 3)
    first, again, other = (many(draw, 50, seed).apply(table) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_parts_are_saved(tmp_path):
    plan = make_plan(head_values=torch.ones(5), norms=Norms.FACTOR, draw=Draw.DIRECTION)
    plan.save(tmp_path / "plan")
    loaded = TransferPlan.load(tmp_path / "plan")
    table = numbers(SOURCE, WIDTH)
    for head in (False, True):
        assert torch.equal(loaded.apply(table, head=head), plan.apply(table, head=head))
    assert (loaded.norms, loaded.draw) == (Norms.FACTOR, Draw.DIRECTION)
    bare = replace(
        plan, head_values=None, low_rank=None, provenance=torch.tensor([0, 1, 1, 3, 3, 2], dtype=torch.uint8)
    )
    bare.save(tmp_path / "bare")
    assert TransferPlan.load(tmp_path / "bare").low_rank is None


def test_parts_that_do_not_fit_are_refused():
    part = make_plan().low_rank
    assert part is not None
    with pytest.raises(
        InputError, match=r"low-rank part: right is torch.float32 \[2, 4\] on cpu, expected .* \[3, 4\]"
    ):
        replace(part, right=part.right[:2])
    with pytest.raises(InputError, match="left or right has entries that are not finite"):
        replace(part, left=part.left * torch.inf)
    with pytest.raises(InputError, match="rows must ascend strictly"):
        replace(part, rows=part.rows.flip(0))
    with pytest.raises(InputError, match="columns must lie between 0 and 11"):
        make_plan(low_rank=replace(part, columns=part.columns + 3))
    with pytest.raises(InputError, match="only rows with provenance REGRESSED can have a low-rank part"):
        make_plan(low_rank=LowRank(torch.tensor([1, 3, 4]), numbers(3, 3), part.right, part.columns))
    with pytest.raises(InputError, match="must have entries or a low-rank part"):
        make_plan(low_rank=None)
    with pytest.raises(InputError, match=r"head_values is torch.float32 \[4\] on cpu, expected torch.float32 \[5\]"):
        make_plan(head_values=torch.ones(4))
    with pytest.raises(InputError, match="norm_anchors must lie between 0 and 5"):
        make_plan(norm_anchors=torch.tensor([6]))
    for wrong in ([0, 0], [1]):  # twice; a row that is not copied
        with pytest.raises(InputError, match="norm_anchors must ascend strictly and name rows with provenance COPIED"):
            make_plan(norm_anchors=torch.tensor(wrong))


def test_a_file_is_what_the_library_writes_with_its_keys_in_order(tmp_path):
    """Written in blocks, without a copy of the tensors: the bytes are those of safetensors' own writer."""
    plan = replace(make_plan(), metadata={"b": "\u00fc", "a": "1"})
    plan.save(tmp_path / "plan")
    content = (tmp_path / "plan").read_bytes()
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length])["__metadata__"]
    theirs = save({name: tensor.clone() for name, tensor in load_file(tmp_path / "plan").items()}, metadata=metadata)
    own_length = int.from_bytes(theirs[:8], "little")
    assert json.loads(content[8 : 8 + length]) == json.loads(theirs[8 : 8 + own_length])
    assert content[8 + length :] == theirs[8 + own_length :]
    assert list(metadata) == sorted(metadata)
