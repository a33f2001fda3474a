"""The transfer plan: against a dense float64 matrix product, bit for bit where rows are copied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from salt_ext.errors import InputError, OutputError
from salt_ext.plan import Provenance, TransferPlan

SOURCE, TARGET, DIM = 60, 50, 24
TOLERANCE = {torch.float64: 1e-13, torch.float32: 1e-6, torch.bfloat16: 2**-8, torch.float16: 2**-11}


def make_plan(source_rows: int = SOURCE, target_rows: int = TARGET, seed: int = 5) -> TransferPlan:
    """Row t: copied, regressed from t % 7 + 1 rows, averaged, sampled or padding, in turn."""
    generator = np.random.default_rng(0)
    crow, columns, values, provenance, residual = [0], [], [], [], []
    for row in range(target_rows):
        kind = Provenance(row % 5)
        chosen, weights = [], []
        if kind == Provenance.COPIED:
            chosen, weights = [int(generator.integers(source_rows))], [1.0]
        elif kind == Provenance.REGRESSED:
            chosen = sorted(generator.choice(source_rows, row % 7 + 1, replace=False).tolist())
            weights = generator.normal(size=len(chosen)).tolist()
        columns += chosen
        values += weights
        crow.append(len(columns))
        provenance.append(kind)
        residual.append(generator.random() if kind == Provenance.REGRESSED else float("nan"))
    return TransferPlan(
        crow_indices=torch.tensor(crow),
        col_indices=torch.tensor(columns),
        values=torch.tensor(values),
        provenance=torch.tensor(provenance, dtype=torch.uint8),
        residual=torch.tensor(residual),
        source_rows=source_rows,
        seed=seed,
        metadata={"source": "an English model", "donor": "ein Gebärmodell"},
    )


def dense(plan: TransferPlan) -> np.ndarray:
    matrix = np.zeros((plan.target_rows, plan.source_rows))
    rows = np.repeat(np.arange(plan.target_rows), np.diff(plan.crow_indices.numpy()))
    matrix[rows, plan.col_indices.numpy()] = plan.values.numpy()
    return matrix


def make_table(dtype: torch.dtype, rows: int = SOURCE, dim: int = DIM) -> torch.Tensor:
    table = torch.randn(rows, dim, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 0.02 + 0.01
    table = table.to(dtype)
    table[::3, ::5] = -0.0
    return table


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("padding", [0, 9])
def test_apply(dtype, padding):
    plan = make_plan()
    table = make_table(dtype, SOURCE + padding)
    table[SOURCE:] = 1000.0  # padding rows must not reach any mean
    new = plan.apply(table)
    assert new.dtype == dtype
    assert new.shape == (TARGET, DIM)
    used = table[:SOURCE].double().numpy()
    combined, magnitude = dense(plan) @ used, np.abs(dense(plan)) @ np.abs(used)
    for row in range(TARGET):
        kind = Provenance(int(plan.provenance[row]))
        if kind == Provenance.COPIED:
            assert torch.equal(bits(new[row]), bits(table[int(plan.col_indices[plan.crow_indices[row]])]))
        elif kind == Provenance.REGRESSED:
            assert (np.abs(new[row].double().numpy() - combined[row]) <= TOLERANCE[dtype] * magnitude[row] + 1e-7).all()
        elif kind in (Provenance.AVERAGED, Provenance.PADDING):
            expected = torch.from_numpy(used.mean(0)).to(dtype)
            assert torch.allclose(new[row], expected, rtol=TOLERANCE[dtype], atol=0)


@pytest.mark.parametrize("old", TOLERANCE)
@pytest.mark.parametrize("new", TOLERANCE)
def test_apply_converts(old, new):
    """A wider dtype gets the digits that the old one has no room for; a narrower one is rounded to."""
    plan, table = make_plan(), make_table(old)
    made, wide = plan.apply(table, dtype=new), table.double().numpy()
    assert made.dtype == new
    copied, regressed = plan.rows(Provenance.COPIED), plan.rows(Provenance.REGRESSED)
    assert torch.equal(bits(made[copied]), bits(table[plan.col_indices[plan.crow_indices[copied]]].to(new)))
    widest = torch.promote_types(old, new)
    bound = (TOLERANCE[new] + TOLERANCE[widest]) * (np.abs(dense(plan)) @ np.abs(wide))[regressed]
    assert (np.abs(made[regressed].double().numpy() - (dense(plan) @ wide)[regressed]) <= 1.01 * bound + 1e-7).all()


def test_negative_zero_is_copied():
    table = make_table(torch.float32)
    new = make_plan().apply(table)
    copied = new[make_plan().rows(Provenance.COPIED)]
    assert bool(((copied == 0) & copied.signbit()).any())


def test_bias_and_more_dimensions_follow_the_same_weights():
    plan, table = make_plan(), make_table(torch.float64)
    wide = plan.apply(table)
    # Sampled rows depend on the width of the table, all others on their own column only.
    fixed = plan.provenance != Provenance.SAMPLED
    bias = plan.apply(table[:, 3].clone())
    assert bias.shape == (TARGET,)
    assert torch.allclose(bias[fixed], wide[fixed, 3], rtol=1e-12, atol=0)
    assert torch.equal(plan.apply(table.reshape(SOURCE, 4, 6)), wide.reshape(TARGET, 4, 6))
    assert torch.equal(bits(plan.apply(table.T.contiguous().T)), bits(wide))


def test_sampled_rows_have_the_distribution_of_the_source():
    rows = 4000
    empty = torch.empty(0)
    plan = TransferPlan(
        crow_indices=torch.zeros(rows + 1, dtype=torch.int64),
        col_indices=empty.long(),
        values=empty,
        provenance=torch.full((rows,), int(Provenance.SAMPLED), dtype=torch.uint8),
        residual=torch.full((rows,), float("nan")),
        source_rows=300,
        seed=11,
    )
    scales = torch.linspace(0, 4, 8, dtype=torch.float64)  # a constant column among them
    table = torch.randn(310, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * scales + 7
    table[300:] = 1e6
    new = plan.apply(table)
    expected_mean, expected_std = table[:300].numpy().mean(0), table[:300].numpy().std(0)
    z = (new.numpy() - expected_mean) / np.maximum(expected_std, 1e-9)
    assert (np.abs(z.mean(0)) < 5 / np.sqrt(rows)).all()
    assert np.abs(z[:, 1:].std(0) - 1).max() < 5 / np.sqrt(2 * rows)
    assert np.abs(np.corrcoef(z[:, 1:].T) - np.eye(7)).max() < 5 / np.sqrt(rows)
    assert np.abs(new[:, 0].numpy() - 7).max() < 1e-9
    assert len(np.unique(new[:, 1].numpy())) == rows
    assert torch.equal(plan.apply(table), new)
    assert not torch.equal(replace(plan, seed=12).apply(table), new)
    # Tables of equal width get the same draws: input table and head stay a pair.
    assert torch.allclose(plan.apply(2 * table + 1), 2 * new + 1, rtol=1e-12, atol=0)


def test_blocks_do_not_change_the_result(monkeypatch):
    plan, table = make_plan(), make_table(torch.bfloat16, dim=70)
    whole = plan.apply(table)
    monkeypatch.setattr("salt_ext.plan.blocks._BLOCK_BYTES", 1)
    blocked = plan.apply(table)
    assert torch.equal(bits(blocked), bits(whole))


def test_empty_plan_and_identity():
    table = make_table(torch.float16)
    identity = TransferPlan(
        crow_indices=torch.arange(SOURCE + 1),
        col_indices=torch.arange(SOURCE),
        values=torch.ones(SOURCE),
        provenance=torch.zeros(SOURCE, dtype=torch.uint8),
        residual=torch.full((SOURCE,), float("nan")),
        source_rows=SOURCE,
        seed=0,
    )
    assert torch.equal(bits(identity.apply(table)), bits(table))
    nothing = replace(
        identity,
        crow_indices=torch.zeros(1, dtype=torch.int64),
        col_indices=torch.zeros(0, dtype=torch.int64),
        values=torch.zeros(0),
        provenance=torch.zeros(0, dtype=torch.uint8),
        residual=torch.zeros(0),
    )
    assert nothing.apply(table).shape == (0, DIM)


def test_explain():
    plan = make_plan()
    for row in range(TARGET):
        entries = plan.explain(row)
        magnitudes = [abs(weight) for _, weight in entries]
        assert magnitudes == sorted(magnitudes, reverse=True)
        assert {source: weight for source, weight in entries} == {
            int(source): dense(plan)[row, source] for source in dense(plan)[row].nonzero()[0]
        }
    for wrong in (-1, TARGET):
        with pytest.raises(InputError, match=f"target_id is {wrong}, expected 0 to 49"):
            plan.explain(wrong)


def test_round_trip(tmp_path):
    plan = make_plan()
    plan.save(tmp_path / "salt_plan.safetensors")
    loaded = TransferPlan.load(tmp_path / "salt_plan.safetensors")
    for name in ("crow_indices", "col_indices", "values", "provenance", "residual"):
        assert torch.equal(bits(getattr(loaded, name)), bits(getattr(plan, name)))
    assert (loaded.source_rows, loaded.seed, loaded.metadata) == (SOURCE, 5, plan.metadata)
    table = make_table(torch.float32)
    assert torch.equal(bits(loaded.apply(table)), bits(plan.apply(table)))


def test_save_into_nowhere(tmp_path):
    with pytest.raises(OutputError, match="the plan cannot be written"):
        make_plan().save(tmp_path / "missing" / "plan")


def _set(name: str, index: int, value: float):
    def change(plan: TransferPlan) -> dict[str, torch.Tensor]:
        tensor = getattr(plan, name).clone()
        tensor[index] = value
        return {name: tensor}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plan: {"values": plan.values.double()}, "values is torch.float64"),
        (lambda plan: {"crow_indices": plan.crow_indices.int()}, "crow_indices is torch.int32"),
        (lambda plan: {"provenance": plan.provenance.long()}, "provenance is torch.int64"),
        (lambda plan: {"provenance": plan.provenance[:, None]}, "provenance is torch.uint8"),
        (lambda plan: {"crow_indices": plan.crow_indices[:-1]}, r"crow_indices is .*expected torch.int64 \[51\]"),
        (lambda plan: {"residual": plan.residual[:-1]}, "residual is"),
        (lambda plan: {"values": plan.values[:-1]}, "values is"),
        (lambda plan: {"crow_indices": plan.crow_indices.flip(0)}, "crow_indices must rise"),
        (_set("crow_indices", 0, 1), "crow_indices must rise"),
        (_set("crow_indices", 50, 3), "crow_indices must rise"),
        (_set("crow_indices", 5, 10_000), "crow_indices must rise"),
        (_set("col_indices", 4, -1), "col_indices must lie"),
        (_set("col_indices", 4, SOURCE), "col_indices must lie between 0 and 59"),
        (lambda plan: {"col_indices": plan.col_indices.flip(0)}, "col_indices must ascend"),
        *((_set("values", 4, float(bad)), "values has entries that are not finite") for bad in ("nan", "-inf")),
        (_set("values", 0, 0.5), "COPIED must have exactly one entry, of weight 1"),
        (_set("provenance", 1, Provenance.COPIED), "COPIED must have exactly one entry"),
        (_set("provenance", 2, Provenance.COPIED), "COPIED must have exactly one entry"),
        (_set("provenance", 46, Provenance.SAMPLED), "AVERAGED, SAMPLED or PADDING must have no entries"),
        (_set("provenance", 2, Provenance.REGRESSED), "REGRESSED must have entries"),
        (_set("provenance", 2, 5), "provenance must lie between 0 and 4"),
        (lambda plan: {"source_rows": 0}, "source_rows is 0"),
        (lambda plan: {"seed": -1}, "seed is -1"),
        (lambda plan: {"metadata": {"seed": "x"}}, "metadata has the key 'seed'"),
    ],
)
def test_invalid_plans(change, message):
    with pytest.raises(InputError, match=message):
        replace(make_plan(), **change(make_plan()))


def test_invalid_tables():
    plan = make_plan()
    with pytest.raises(InputError, match=r"table has shape \[59, 24\], expected at least 60 rows"):
        plan.apply(make_table(torch.float32, SOURCE - 1))
    with pytest.raises(InputError, match=r"table has shape \[\]"):
        plan.apply(torch.tensor(1.0))
    for dtype in (torch.int64, torch.float8_e4m3fn, torch.complex64):
        with pytest.raises(InputError, match="table has dtype"):
            plan.apply(torch.zeros(SOURCE, DIM).to(dtype))


def _rewritten(path: Path, metadata: dict[str, str], drop: str = "", **tensors: torch.Tensor) -> Path:
    make_plan().save(path)
    kept = {name: tensor for name, tensor in load_file(path).items() if name != drop}
    header = {"format": "salt_plan", "version": "4", "seed": "5", "source_rows": "60"}
    header |= {"draw": "independent", "norms": "kept"} | metadata
    save_file(kept | tensors, path, metadata=header)
    return path


def test_malformed_files(tmp_path):
    path = tmp_path / "plan"

    def refused(message: str, file: Path = path) -> None:
        with pytest.raises(InputError, match=message) as error:
            TransferPlan.load(file)
        assert str(path) in str(error.value)

    refused("cannot be read as a transfer plan")  # it is not there
    path.write_bytes(b"not a plan at all")
    refused("cannot be read as a transfer plan")
    TransferPlan.load(_rewritten(path, {}))
    path.write_bytes(path.read_bytes()[:-1])
    refused("cannot be read as a transfer plan")
    save_file({"a": torch.ones(1)}, path)
    refused("not a transfer plan of version 4")
    _rewritten(path, {"version": "2"})
    refused("of version 4")
    for text in ("", "x", "-1", "1.5", "9" * 30, "²"):
        _rewritten(path, {"seed": text})
        refused("seed or source_rows is not a number")
    refused("it lacks values", _rewritten(path, {}, drop="values"))
    refused("valid transfer plan: col_indices must lie between 0 and 2", _rewritten(path, {"source_rows": "3"}))
    refused("not a valid transfer plan: values is", _rewritten(path, {}, values=torch.ones(3)))
