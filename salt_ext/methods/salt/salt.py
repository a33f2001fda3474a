"""SALT (Lee et al. 2025, section 3): each new token through its own regression onto the tokens that both share.

For a new token t with auxiliary vector f(t) and donor row q = E_t[t]: the support N holds the shared tokens with a
non-zero weight in sparsemax(cos(f(t), f(S))), and with A = E_t[N], B = E_s[N] the new row is q X for the minimum-norm
least-squares map X = pinv(A) B. Since q pinv(A) B = w B with w = q pinv(A), the weights w need neither X nor the
source's table: one plan serves every table of the source.

The minimum-norm fit drops whatever part of q lies outside the span of its neighbours. The options beyond the paper mend
that: a ridge, weights and an intercept lead from SALT towards FOCUS, and with `global_ridge` the local fit only
corrects one affine map m of all anchors, e = m(q) + w (B - m(A)), as in regression kriging (Hengl et al. 2007). The
weights w are the same; the rest is the plan's low-rank part. Where `prior` knows source tokens for a token, they stand
in the map's place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.errors import InputError
from salt_ext.files.paths import require_file
from salt_ext.methods.core import affine_map
from salt_ext.methods.core.affine_map import AffineMap
from salt_ext.methods.core.anchor_filters import ANCHOR_FILTERS, filter_anchors
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.checks import check_not_negative, check_positive
from salt_ext.methods.core.fallback import made_of_pieces
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.methods.core.neighbours import SparseRows, combine_blocks, find_neighbours, nonzero_rows, with_residual
from salt_ext.methods.core.norm_anchors import norm_parts
from salt_ext.methods.salt.prior import PRIORS, Prior
from salt_ext.methods.salt.similarity import SIMILARITIES, Similarity
from salt_ext.methods.salt.supports import find_support
from salt_ext.plan import LowRank, Norms

# Fewer than this are a reason to warn.
_DIMENSIONS_PER_NEIGHBOUR = 4


@dataclass(frozen=True)
class Salt:
    """The paper's regression, the numbers that it leaves open, and what goes beyond it; the defaults are the paper's.

    As published it is linear: weights that do not add up to 1 lose the large part that a real model's rows have in
    common, and SmolLM2-135M with its rows starts worse than with the mean row (4.84 to 3.15 bits per byte of German).
    With prior="subword", ridge=3 and similarity="mean" it starts at 2.28; `SaltPlus` does so, too, and trains better.

    Attributes:
        temperature: of the sparsemax, above 0; a small one leaves few neighbours.
        rcond: singular values at or below rcond times the largest count as zero; None for max(k, h) * eps.
        ridge: this times the mean of the Gram matrix's diagonal is added to it; 0 is the paper's letter.
        weighted: whether a neighbour counts in the regression by its sparsemax weight; by the paper all count alike.
        intercept: whether the regression is affine; by the paper it is linear.
        similarity: what chooses the neighbours: the cosine of "auxiliary" vectors (the paper), of "donor" rows, or the
            "mean" of both.
        minimum_neighbours: a smaller support is filled up with the nearest anchors.
        global_ridge: with a number the regression corrects one affine map, fitted on all text anchors with this ridge,
            in units of the mean variance of a donor dimension times the number of anchors; None for no map.
        prior: what the local fit corrects in place of the map, where it knows the token: the source tokens of the
            token's pieces ("subword"), those that it translates ("alignment"), or "none"; see `methods.prior`.
        alignment: for the latter, the table that `salt-ext align` made of the same two tokenizers.
        norms: "kept", or all new rows scaled by one "factor", to the mean norm of anchors that are trained text.
        drop_anchors: which anchors are copied but explain no others: "undertrained" ones or "none"; see
            `anchor_filters`.

    Raises:
        InputError: a number is not finite or out of range, a word is none of those above, or a file that an option
            needs is not given.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="salt",
        summary="its own least-squares map from its nearest anchors' donor rows to their source rows",
        paper="Lee et al. 2025, Findings of ACL",
        cost="new x anchors x D for the search, k^2 h for each regression",
        needs=("donor table", "auxiliary vectors"),
    )

    temperature: float = 1.0
    rcond: float | None = None
    ridge: float = 0.0
    weighted: bool = False
    intercept: bool = False
    similarity: str = "auxiliary"
    minimum_neighbours: int = 0
    global_ridge: float | None = None
    prior: str = "none"
    alignment: Path | None = None
    norms: str = Norms.KEPT.value
    drop_anchors: str = "none"

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)
        for name in ("rcond", "ridge", "global_ridge"):
            if (value := getattr(self, name)) is not None:
                check_not_negative(name, value)
        words = {
            "similarity": SIMILARITIES,
            "prior": PRIORS,
            "norms": [kind.value for kind in Norms],
            "drop_anchors": ANCHOR_FILTERS,
        }
        for name, known in words.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}")
        if self.minimum_neighbours < 0:
            raise InputError(f"minimum_neighbours is {self.minimum_neighbours}, expected a whole number of at least 0")
        self._check_files()

    def combine(self, material: MethodInputs) -> Combinations:
        """New tokens with a donor row that is not zero are made, where they also have a vector that finds neighbours or
        there is a global map, and so are those that the prior knows; the others are left, which by the paper are drawn
        at random, and with any option beyond it are the mean of their pieces.

        Raises:
            InputError: a table has too few rows, too few anchors can serve, or a file cannot be used.
        """
        facts = dict[str, Any]()
        prior = Prior.of(material, self.prior, self.alignment)
        if self.drop_anchors != "none":
            material, facts["dropped_anchors"] = filter_anchors(material, self.drop_anchors)
        scaled = norm_parts(material, self.norms)
        combined = replace(
            self.rows_of(material, prior),
            **scaled,
            facts=facts,
        )
        # By the paper what has no vector is drawn at random.
        return combined if replace(self, temperature=1.0, rcond=None) == Salt() else made_of_pieces(combined, material)

    def rows_of(self, material: MethodInputs, prior: Prior | None) -> Combinations:
        """The regressions alone, with the options as they are, and a warning where they are too tight.

        Args:
            material: as for `combine`.
            prior: what they correct, if anything.

        Raises:
            InputError: as `combine`.
        """
        similarity, donor = Similarity.of(material, self.similarity), material.donor
        without_vector = self.global_ridge is not None or prior is not None
        tables = (donor,) if without_vector else (similarity.required, donor)
        row = "an auxiliary vector" if self.similarity == "auxiliary" else "a donor row"
        neighbours = find_neighbours(material, *tables, keys=similarity.required, method="SALT", row=row)
        keys = (neighbours.key_targets, neighbours.key_sources)
        if prior is not None:
            neighbours = replace(neighbours, key_sources=np.arange(len(neighbours.key_sources)))
        key_rows = torch.from_numpy(neighbours.key_targets)
        fitted = self._global_map(material)
        left: list[Tensor] = []

        def prepare(device: torch.device) -> Callable[[Tensor], SparseRows]:
            # One key more or less changes a minimum-norm fit visibly, so near-ties at the sparsemax's threshold are
            # decided in float64: the same support on every machine, for a third more of the search's time.
            key_vectors, key_donors = similarity.vectors(key_rows, device), donor[key_rows].float().to(device)
            key_domain = None if fitted is None else fitted[0].domains(donor, key_rows, device, kept=device)
            left.clear()

            def regress(block: Tensor) -> SparseRows:
                queries = donor[block].float().to(device)
                support = find_support(
                    similarity.vectors(block, device),
                    key_vectors,
                    temperature=self.temperature,
                    minimum=self.minimum_neighbours,
                )
                crow, col = support.crow, support.col
                weights = ops.lstsq_weights(
                    crow,
                    col,
                    queries,
                    key_donors,
                    sample_weights=support.weights if self.weighted else None,
                    ridge=self.ridge,
                    intercept=self.intercept,
                    rcond=self.rcond,
                )
                if fitted is not None and key_domain is not None:
                    corrected = ops.csr_matmul(crow, col, weights.double(), key_domain)
                    left.append((fitted[0].domains(donor, block, device, kept=device) - corrected).cpu())
                return with_residual(SparseRows(crow, col, weights), queries, key_donors)

            return regress

        row_bytes = similarity.row_bytes + (1 if fitted is None else 2) * donor.shape[1] * torch.float32.itemsize
        combined = combine_blocks(material, neighbours, prepare, row_bytes=row_bytes)
        combined = replace(combined, warnings=self._warnings(combined, material))
        if fitted is not None and left:
            rows = torch.from_numpy(combined.target_ids)
            low_rank = LowRank(rows, torch.cat(left), fitted[0].right, torch.from_numpy(fitted[1]))
            combined = replace(combined, low_rank=low_rank)
        return combined if prior is None else prior.correct(combined, material.new, keys)

    def _global_map(self, material: MethodInputs) -> tuple[AffineMap, npt.NDArray[np.int64]] | None:
        """The map of all text anchors with a donor row, rounded, and the source ids that its `right` stands for."""
        if self.global_ridge is None:
            return None
        anchors, donor = material.anchors, material.donor
        usable = material.text_anchors & nonzero_rows(donor, material.target.size)[anchors.target_ids]
        rows, ridge = donor[torch.from_numpy(anchors.target_ids[usable])], self.global_ridge

        def fit(device: torch.device) -> AffineMap:
            return affine_map.fit(rows.to(device), ridge=ridge).rounded()

        needed = rows.nbytes + affine_map.memory_needed(*rows.shape)
        return material.placement.run("global map", fit, needed=needed), anchors.source_ids[usable]

    def _check_files(self) -> None:
        aligned = self.prior == "alignment"
        if aligned and self.alignment is None:
            raise InputError(
                "prior is 'alignment', which needs one of the two tokenizers: make it with salt-ext align and pass it "
                "as --alignment FILE"
            )
        if self.alignment is not None and not aligned:
            raise InputError(
                f"an alignment is given, but prior is {self.prior!r}: pass --set prior=alignment to use it"
            )
        if self.alignment is not None:
            require_file(Path(self.alignment), "alignment")

    def _warnings(self, combined: Combinations, material: MethodInputs) -> tuple[str, ...]:
        """The fewer dimensions remain for each neighbour, the more of the fit is noise.

        With a median of 91 neighbours in 96 dimensions, small models that we moved were far worse than with random
        rows, and well again with a ridge of 0.1.
        """
        width, sizes = material.donor.shape[1], torch.from_numpy(combined.lengths[combined.lengths > 0])
        if self.ridge > 0 or not len(sizes) or _DIMENSIONS_PER_NEIGHBOUR * int(sizes.median()) < width:
            return ()
        whose = "the vectors'" if material.stands_in else "the donor's"
        return (
            f"a new token has {int(sizes.median())} neighbours (median) for {whose} {width} dimensions: a fit this "
            "tight follows noise; --ridge 0.1 or a lower --temperature helps",
        )
