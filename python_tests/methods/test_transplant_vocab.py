"""Transplant-vocab's rows against its formula, term by term in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from salt_ext.errors import InputError
from salt_ext.methods import assemble_plan
from salt_ext.methods.transplant_vocab import TransplantVocab

from .conftest import close


def front_loaded_mean(rows: np.ndarray, factor: float) -> np.ndarray:
    """sum of factor^i row_i over sum of factor^i, i from 0."""
    total, weights = np.zeros(rows.shape[1]), 0.0
    for number, row in enumerate(rows):
        total, weights = total + factor**number * row, weights + factor**number
    return total / weights


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("decay", [0.5, 0.0, 0.25, 1.0])
def test_the_formula(pair, decay, tied):
    """A separate head gets the mean and the input table the last piece; a tied table gets the mean."""
    material, cuts, ids, table = pair
    material = replace(material, tied=tied)
    plan = assemble_plan(
        TransplantVocab(decay=decay).combine(material),
        material.anchors,
        material.target,
        rows=material.target.size,
        source_rows=len(table),
        seed=0,
    )
    made_in, made_out = (plan.apply(torch.from_numpy(table), head=head).numpy() for head in (False, True))
    for token, cut in cuts.items():
        number, rows = material.target.tokens.index(token), table[[ids[piece] for piece in cut]]
        mean = front_loaded_mean(rows, decay)
        close(made_out[[number]], mean[None], 1e-7)
        close(made_in[[number]], (mean if tied else rows[-1])[None], 1e-7)


def test_bad_input():
    with pytest.raises(InputError, match="decay is 2, expected a number from 0 to 1"):
        TransplantVocab(decay=2)
