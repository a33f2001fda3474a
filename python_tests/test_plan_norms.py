"""How long a plan makes new rows: as long as the anchors that it names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from salt_ext.plan import Norms, Provenance, TransferPlan

WIDTH = 6


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def of_anchors(count: int, **parts: object) -> TransferPlan:
    """Rows: `count` copied of the sources in order; the first is none of the anchors; then three regressed."""
    rows = count + 3
    return TransferPlan(
        crow_indices=torch.arange(rows + 1),
        col_indices=torch.cat([torch.arange(count), torch.tensor([1, 2, 3])]),
        values=torch.ones(rows),
        provenance=torch.tensor([Provenance.COPIED] * count + [Provenance.REGRESSED] * 3, dtype=torch.uint8),
        residual=torch.full((rows,), torch.nan),
        source_rows=count,
        seed=0,
        norm_anchors=torch.arange(1, count),
        **parts,  # type: ignore[arg-type]
    )


def test_norms_are_those_of_the_named_anchors():
    """A row that is copied and no anchor, such as a byte's, has no say however long it is."""
    table = numbers(50, WIDTH).double()
    table[0] *= 1000
    norms = np.linalg.norm(table.numpy(), axis=1)
    by_factor = of_anchors(50, norms=Norms.FACTOR).apply(table)[50:]
    np.testing.assert_allclose(by_factor.norm(dim=1).mean().numpy(), norms[1:].mean(), rtol=1e-12)


def test_without_an_anchor_norms_are_those_of_all_rows():
    table = numbers(50, WIDTH).double()
    plan = replace(of_anchors(50, norms=Norms.FACTOR), norm_anchors=torch.empty(0, dtype=torch.int64))
    made = plan.apply(table)[50:].norm(dim=1).mean()
    assert float(made) == pytest.approx(float(table.norm(dim=1).mean()), rel=1e-12)
