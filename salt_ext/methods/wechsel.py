"""WECHSEL (Minixhofer et al. 2022): words of two languages in one space; a token is made of the source's nearest ones.

As published, each token has the word vector of its text (for fastText with its n-grams), source vectors are rotated
onto the target's by a dictionary, and softmax(cosine / 0.1) of the 10 nearest source tokens weights their rows. Texts
that both vocabularies share are made anew like all others, since they may be false friends.

What differs from the published code, on purpose: special tokens, byte pieces and pairs that the user gave are copied
and are no neighbours; a shared token without a vector is copied instead of drawn. Where the two files differ in width
the code shortens the source's vectors whichever is the wider; here that is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from salt_ext.errors import InputError
from salt_ext.files.paths import require_file
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.checks import check_count, check_enough_keys, check_positive
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.methods.core.nearest import softmax_of_nearest
from salt_ext.methods.core.neighbours import text_keys
from salt_ext.vectors import check_spec, look_up, open_vectors
from salt_ext.vectors.aligned import fit_rotation


@dataclass(frozen=True)
class Wechsel:
    """e = sum over the nearest source tokens of softmax(cos(f_t(t), f_s(s) R) / temperature) times their rows.

    Attributes:
        source_vectors: word vectors of the source's language, as `open_vectors` takes them.
        target_vectors: those of the target's language, of as many dimensions.
        dictionary: pairs of words that the rotation R is fitted on, see `read_dictionary`; None where both files are in
            one space already.
        neighbours: how many are nearest.
        temperature: of the softmax, above 0.

    Raises:
        InputError: an option is out of range, or a file is missing.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="wechsel",
        summary="as ofa among all source tokens, vectors of two languages aligned; shared text made anew too",
        paper="Minixhofer et al. 2022, NAACL",
        cost="target x source x D",
        needs=("source_vectors and target_vectors: word vectors of both languages, as --aux takes them",),
    )

    source_vectors: str
    target_vectors: str
    dictionary: Path | None = None
    neighbours: int = 10
    temperature: float = 0.1

    def __post_init__(self) -> None:
        for name in ("source_vectors", "target_vectors"):
            try:
                check_spec(getattr(self, name))
            except InputError as error:
                raise InputError(f"{name}: {error}") from None
        if self.dictionary is not None:
            require_file(Path(self.dictionary), "dictionary")
        check_count("neighbours", self.neighbours)
        check_positive("temperature", self.temperature)

    def combine(self, material: MethodInputs) -> Combinations:
        """New tokens and shared text with a vector are made.

        Raises:
            InputError: the files do not fit each other, or fewer source tokens have a vector than are to be neighbours.
        """
        source, target = open_vectors(self.source_vectors), open_vectors(self.target_vectors)
        queries, keys = look_up(target, material.target), look_up(source, material.source)
        facts: dict[str, int] = {}
        warnings: tuple[str, ...] = ()
        if self.dictionary is not None:
            rotation = fit_rotation(source, target, Path(self.dictionary))
            keys = (keys.double() @ torch.from_numpy(rotation.matrix)).float()
            facts["dictionary_pairs"] = rotation.pairs
            if rotation.pairs < source.dim:
                warnings = (
                    f"{rotation.pairs} pairs of {self.dictionary} have vectors, fewer than the {source.dim} dimensions "
                    "that they are to align",
                )
        elif source.dim != target.dim:
            raise InputError(
                f"source_vectors has {source.dim} dimensions, target_vectors {target.dim}: expected one space, or "
                "files of equal width and a dictionary"
            )
        text = material.anchors.target_ids[material.text_anchors]
        near = text_keys(material, np.union1d(material.new, text), queries, keys)
        check_enough_keys("neighbours", self.neighbours, near)
        combined = softmax_of_nearest(
            material,
            near,
            queries,
            keys[torch.from_numpy(near.key_sources)],
            count=self.neighbours,
            temperature=self.temperature,
        )
        return replace(combined, facts=facts, warnings=warnings)
