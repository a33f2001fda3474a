"""Which anchors say how long a new row should be: those that are text and trained."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import numpy.typing as npt

from salt_ext.methods.core.anchor_filters import undertrained
from salt_ext.methods.core.inputs import MethodInputs
from salt_ext.plan import Norms


class NormParts(TypedDict):
    """What `Combinations` hold of norms."""

    norms: Norms
    norm_anchors: npt.NDArray[np.int64] | None


def norm_parts(material: MethodInputs, kind: str) -> NormParts:
    """How new rows are scaled, and by which anchors.

    Bytes, special tokens and rows that training hardly touched have norms of their own (a small model's control
    characters three times those of its text), and a mean over all copied rows makes every new row too long.

    Args:
        material: of the method.
        kind: a value of `Norms`.

    Raises:
        InputError: the source's table has too few rows.
    """
    norms = Norms(kind)
    if norms is Norms.KEPT:
        return NormParts(norms=norms, norm_anchors=None)
    anchors = material.anchors.only(material.text_anchors)
    trained = ~undertrained(material.source_table, material.source, material.placement)[anchors.source_ids]
    return NormParts(norms=norms, norm_anchors=np.sort(anchors.target_ids[trained]))
