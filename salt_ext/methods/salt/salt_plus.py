"""SALT for real sources: the sub-word mean, plus one affine map of what it misses on the anchors.

A real source already spells the new language in pieces, so the mean p(t) of a token's pieces is a good first guess; the
anchors show by how much such guesses fail, and a map from donor rows x to those failures is fitted on all of them:

    e = p(t) + b + (x(t) - a) M,    M = (A'A + lambda I)^-1 A' (B - P)

with the anchors' mean donor row a, mean failure b, centred donor rows A, source rows B and guesses P: kriging with a
varying mean (Goovaerts 1997, section 6.1), whose local form is `prior` of `Salt`. An anchor is guessed at without the
source token that it equals, see `salt_ext.methods.salt.prior`. On SmolLM2-135M what the map leaves is as good as noise:
what it leaves of the nearest anchors explains 0.4 % of an anchor's own in German, 4 % with MiniLM's rows, so that no
regression on neighbours follows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.methods.core.affine_map import AffineMap, fit, memory_needed
from salt_ext.methods.core.anchor_filters import ANCHOR_FILTERS, filter_anchors
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.checks import check_choice, check_not_negative
from salt_ext.methods.core.entries import Entries, joined
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.methods.core.neighbours import nonzero_rows
from salt_ext.methods.core.norm_anchors import norm_parts
from salt_ext.methods.core.piece_weights import Kind
from salt_ext.methods.salt.prior import Prior
from salt_ext.plan import LowRank, Norms, Provenance

_BLOCK = 64
_NOTHING_TO_LEARN = "no anchor has both pieces and a donor row: new rows are the mean of their pieces, as by subword"


@dataclass(frozen=True)
class SaltPlus:
    """e = p(t) + b + (x(t) - a) M, as the module says.

    Attributes:
        ridge: this times the mean of the diagonal of A'A is lambda, at least 0.
        pieces: what the weights of a token's pieces go by, see `piece_weights`; which is best goes by the language.
        norms: "kept", or all new rows scaled by one "factor", to the mean norm of anchors that are trained text.
        drop_anchors: which anchors are copied but explain no others, see `anchor_filters`.

    Raises:
        InputError: the ridge is out of range, or a word is none of the choices.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="salt-plus",
        summary="the mean of its pieces, plus one affine map of what such means miss on the anchors",
        paper="this project, after Goovaerts 1997",
        cost="anchors x h^2, h^3 steps, one tokenization of the vocabulary",
        needs=("donor table",),
    )

    ridge: float = 0.1
    pieces: Kind = "mean"
    norms: str = Norms.KEPT.value
    drop_anchors: str = "undertrained"

    def __post_init__(self) -> None:
        check_not_negative("ridge", self.ridge)
        check_choice("pieces", self.pieces, get_args(Kind))
        check_choice("norms", self.norms, tuple(kind.value for kind in Norms))
        check_choice("drop_anchors", self.drop_anchors, ANCHOR_FILTERS)

    def combine(self, material: MethodInputs) -> Combinations:
        """New tokens with a piece are made; those without a donor row are their pieces' mean. The others get the mean
        row: one that is drawn at random harms a real model more.

        Raises:
            InputError: a table has too few rows, or the source's tokenizer is missing.
        """
        facts = dict[str, Any]()
        prior = Prior.of(material, "subword", pieces=self.pieces)
        assert prior is not None
        if self.drop_anchors != "none":
            material, facts["dropped_anchors"] = filter_anchors(material, self.drop_anchors)
        donor, new = material.donor, material.new
        there = nonzero_rows(donor, material.target.size)
        made = new[prior.known[new]]
        guesses = prior.guesses(made)
        anchors = material.anchors.only(material.text_anchors)
        anchors = anchors.only(prior.known[anchors.target_ids] & there[anchors.target_ids])
        mapped = made[there[made]]
        failures = _failures(prior, anchors.target_ids, anchors.source_ids)

        def map_all(device: torch.device) -> LowRank:
            fitted = fit(donor[torch.from_numpy(anchors.target_ids)].to(device), ridge=self.ridge).rounded()
            rows = torch.from_numpy(mapped)
            left = fitted.domains(donor, rows, device, kept=rows.device)
            return LowRank(rows, left, *_of_sources(fitted, failures))

        needed = memory_needed(len(anchors.target_ids), donor.shape[1])
        corrected = len(mapped) > 0 and len(anchors.target_ids) > 0
        return Combinations(
            target_ids=made,
            lengths=np.bincount(guesses.rows, minlength=len(made)),
            source_ids=guesses.columns,
            values=guesses.values.astype(np.float32),
            low_rank=material.placement.run("regression", map_all, needed=needed) if corrected else None,
            **norm_parts(material, self.norms),
            fallback=Provenance.AVERAGED,
            facts=facts,
            warnings=() if corrected or not len(mapped) else (_NOTHING_TO_LEARN,),
        )


def _failures(prior: Prior, targets: npt.NDArray[np.int64], sources: npt.NDArray[np.int64]) -> Entries:
    """B - P as weights of source rows, by the number of the anchor."""
    guesses, numbers = prior.guesses(targets), np.arange(len(targets))
    own = Entries(numbers, sources, np.ones(len(numbers)))
    return joined([own, Entries(guesses.rows, guesses.columns, -guesses.values)]).merged()


def _of_sources(fitted: AffineMap, failures: Entries) -> tuple[Tensor, Tensor]:
    """The map's right factor over source rows instead of the anchors' failures, float32, and their ids."""
    columns, places = np.unique(failures.columns, return_inverse=True)
    order = np.argsort(places, kind="stable")
    crow = torch.from_numpy(np.concatenate([[0], np.bincount(places, minlength=len(columns)).cumsum()]))
    anchors, weights = torch.from_numpy(failures.rows[order]), torch.from_numpy(failures.values[order])
    right = torch.empty(len(fitted.right), len(columns))
    for begin in range(0, len(right), _BLOCK):  # in float64 the whole of it would be larger than a table
        block = fitted.right[begin : begin + _BLOCK].T.double().contiguous()
        right[begin : begin + _BLOCK] = ops.csr_matmul(crow, anchors, weights, block).T
    return right, torch.from_numpy(columns)
