"""SALT with what measured best beyond the paper: a global map, corrected by the regressions of the nearest anchors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from salt_ext.methods.material import MethodInfo
from salt_ext.methods.salt import Salt
from salt_ext.plan import Norms


@dataclass(frozen=True)
class SaltPlus(Salt):
    """`Salt` with other defaults, each of which can be set back.

    Small models moved from English to German and to Vietnamese had fewer bits per byte with these than with SALT by
    the letter after 400,000 tokens of adaptation (by 0.05 and 0.06, with each of three seeds), and better rows of
    held-out anchors. Before any adaptation the Vietnamese model had more (2.81 against 2.42): rows that are a map's
    cautious estimates make inputs on which the body is sure and wrong, which a few steps of training undo. Norms at the
    anchors' make the adaptation better although they make held-out rows, and the Vietnamese start, worse.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="salt-plus",
        summary="one affine map of all anchors, corrected by a ridge regression on the nearest; at the anchors' norm",
        paper="this project, after Lee et al. 2025",
        cost="as salt, and anchors x h^2 for the map",
        needs=("donor table", "auxiliary vectors"),
    )

    ridge: float = 3.0
    similarity: str = "mean"
    global_ridge: float | None = 1.0
    norms: str = Norms.FACTOR.value
    drop_anchors: str = "undertrained"
