"""OFA (Liu et al. 2024): the softmax of the cosines with the nearest source tokens weights their rows.

Published with multilingual word vectors, in which every source token is a candidate: that is what `vectors` is for.
Vectors of the target language alone know the anchors only, which are the candidates then. OFA also factorises the
source's table; a plan leaves tables as wide as they are, which is the paper's variant of full width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.checks import check_count, check_enough_keys, check_positive
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.methods.core.nearest import softmax_of_nearest
from salt_ext.methods.core.neighbours import find_neighbours, text_keys
from salt_ext.vectors import check_spec, look_up, open_vectors


@dataclass(frozen=True)
class Ofa:
    """e = sum over the nearest of softmax(cos(f(t), f(s)) / temperature) times their source rows; anchors are copied.

    A token without a vector is left to the rest, and a source token without one is never near.

    Attributes:
        neighbours: how many are nearest.
        temperature: of the softmax, above 0.
        vectors: a file of vectors that know both languages, as `open_vectors` takes it; None: the auxiliary vectors,
            with the anchors as candidates.

    Raises:
        InputError: an option is out of range, or the file is missing.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="ofa",
        summary="softmax(cosine / 0.1) of its 10 nearest source tokens weights their rows",
        paper="Liu et al. 2024, Findings of NAACL",
        cost="new x anchors x D",
        needs=("auxiliary vectors",),
    )

    neighbours: int = 10
    temperature: float = 0.1
    vectors: str | None = None

    def __post_init__(self) -> None:
        check_count("neighbours", self.neighbours)
        check_positive("temperature", self.temperature)
        if self.vectors is not None:
            check_spec(self.vectors)

    @property
    def needed(self) -> tuple[str, ...]:
        """No auxiliary vectors where the method has its own."""
        return self.info.needs if self.vectors is None else ()

    def combine(self, material: MethodInputs) -> Combinations:
        """New tokens with a vector are made, the others left.

        Raises:
            InputError: fewer source tokens have a vector than are to be neighbours.
        """
        if self.vectors is None:
            queries = material.auxiliary
            near = find_neighbours(material, queries, keys=queries, method="OFA")
            keys = queries[torch.from_numpy(near.key_targets)]
        else:
            both = open_vectors(self.vectors)
            queries, sources = look_up(both, material.target), look_up(both, material.source)
            near = text_keys(material, material.new, queries, sources)
            keys = sources[torch.from_numpy(near.key_sources)]
        check_enough_keys("neighbours", self.neighbours, near)
        return softmax_of_nearest(material, near, queries, keys, count=self.neighbours, temperature=self.temperature)
