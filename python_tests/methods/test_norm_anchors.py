"""Which anchors tell how long new rows are: trained text, by script where that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from salt_ext.methods import assemble_plan, make_method
from salt_ext.methods.core.norm_anchors import norm_parts, script_of
from salt_ext.plan import Norms, Provenance
from salt_ext.vocab import Form


@pytest.mark.parametrize(
    ("data", "script"),
    [
        (b"Haus", "LATIN"),
        ("für".encode(), "LATIN"),
        ("Жизнь".encode(), "CYRILLIC"),
        ("Жизньx".encode(), "CYRILLIC"),
        ("한국".encode(), "HANGUL"),
        ("語".encode(), "CJK"),
        (b"2024", ""),
        (b"...", ""),
        (b"\xed\x95", ""),  # the front of a character
        (b"", ""),
    ],
)
def test_scripts(data, script):
    assert script_of(Form(data, True)) == script
    assert script_of(None) == ""


def test_bytes_and_untrained_rows_have_no_say(world):
    made = world(60, 10)
    kinds, table = made.pairs.kinds.copy(), torch.from_numpy(made.table.copy())
    kinds[1] = "byte"
    # Norms of normal rows are close together, so that both of these lie far outside.
    table[int(made.source_ids[1])] *= 1e4
    table[int(made.source_ids[2])] *= 1e-4
    material = replace(made.material(), read_source=lambda: table, anchors=replace(made.pairs, kinds=kinds))
    parts = norm_parts(material, "factor")
    assert (parts["norms"], parts["norm_groups"]) == (Norms.FACTOR, None)
    assert parts["norm_anchors"].tolist() == list(range(4, 61))
    assert norm_parts(made.material(), "kept")["norm_anchors"] is None


def test_scripts_reach_the_plan(world):
    made = world(60, 10)
    table = torch.from_numpy(made.table)
    combined = make_method("salt", {"norms": "script"}).combine(replace(made.material(), read_source=lambda: table))
    plan = assemble_plan(combined, made.pairs, made.target, rows=made.target.size + 3, source_rows=len(table), seed=0)
    assert plan.norm_anchors.tolist() == list(range(1, 61))
    norms = plan.apply(table.double())[plan.rows(Provenance.REGRESSED)].norm(dim=1)
    assert norms.numpy() == pytest.approx(np.median(np.linalg.norm(made.shared(), axis=1)), rel=1e-6)
