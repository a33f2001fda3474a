"""Transplant-vocab (jukofyork 2025): the last piece in, the first pieces out.

A tool that makes draft models. What a model has read when a word is done is its last piece, so that this one stands in
the input table; what it has to foresee is the first one, so that in the head each piece counts half as much as the one
before it. A tied table does both jobs and gets the head's weights, as under the tool's --keep-tied-word-embeddings
(without it the tool unties the table first).

What differs from the program: the text is cut as it stands in a running text, not as one by itself; a token without a
piece is left to the rest, where the program takes the row of the end of the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.checks import check_share
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.methods.core.piece_weights import DECAY, Kind
from salt_ext.methods.subword import combine_pieces


@dataclass(frozen=True)
class TransplantVocab:
    """In the input table the source row of its last piece, in the head the mean with weights 1, decay, decay^2, ...

    Attributes:
        decay: the factor from one piece to the next, 0 to 1: with 0 the first piece is all, with 1 all count alike.

    Raises:
        InputError: the factor is out of range.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="transplant-vocab",
        summary="in the input table its last piece, in the head its pieces with weights 1, 1/2, 1/4, ...",
        paper="transplant-vocab (jukofyork 2025), a program",
        cost="one tokenization of the vocabulary",
    )

    decay: float = DECAY

    def __post_init__(self) -> None:
        check_share("decay", self.decay)

    def combine(self, material: MethodInputs) -> Combinations:
        """New tokens with at least one piece are made, the others left.

        Raises:
            InputError: the source's tokenizer is missing or slow.
        """
        input_kind: Kind = "decayed" if material.tied else "last"
        return combine_pieces(material, input_kind=input_kind, head_kind="decayed", decay=self.decay)
