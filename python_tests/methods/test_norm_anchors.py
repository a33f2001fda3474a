"""Which anchors tell how long new rows are: trained text."""

from __future__ import annotations

from dataclasses import replace

import torch

from salt_ext.methods.core.norm_anchors import norm_parts
from salt_ext.plan import Norms


def test_bytes_and_untrained_rows_have_no_say(world):
    made = world(60, 10)
    kinds, table = made.pairs.kinds.copy(), torch.from_numpy(made.table.copy())
    kinds[1] = "byte"
    # Norms of normal rows are close together, so that both of these lie far outside.
    table[int(made.source_ids[1])] *= 1e4
    table[int(made.source_ids[2])] *= 1e-4
    material = replace(made.material(), read_source=lambda: table, anchors=replace(made.pairs, kinds=kinds))
    parts = norm_parts(material, "factor")
    assert parts["norms"] is Norms.FACTOR
    assert parts["norm_anchors"].tolist() == list(range(4, 61))
    assert norm_parts(made.material(), "kept")["norm_anchors"] is None
