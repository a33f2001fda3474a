"""FVT (Gee et al. 2022): a new token is the mean of the pieces that the source's own tokenizer cuts its text into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
import numpy.typing as npt

from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.checks import check_choice, check_share
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.methods.core.piece_weights import DECAY, Kind, characters_of, piece_weights
from salt_ext.methods.core.pieces import segment_tokens
from salt_ext.plan import Provenance


@dataclass(frozen=True)
class Subword:
    """e = sum over its pieces of their weights times their source rows; weights add up to 1.

    The text is cut as it stands in a running text, with the space of its word. A token without a piece other than the
    unknown one is left to the rest.

    Attributes:
        input: the weights in the input table. "mean" as published; "first" or "last": that piece alone, the last one
            being what a model has read when it goes on; "decayed": each piece `decay` times as much as the one before
            it; "rising": as the one behind it; "length": as many characters as it has, the space of its word included.
        head: the weights in an untied head, of the same choice; a tied table has those of the input. "mean" as
            published; "decayed", with 0.5, because a head must foresee the first piece (Nakash et al. 2025,
            AdaptiVocab). Tokensurgeon's weighted mean has the same thought, but gives the first piece most in the input
            table and least in the head, against its own comment.
        decay: the factor from one piece to the next, 0 to 1.

    Raises:
        InputError: a word is none of the choices, or the factor is out of range.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="subword",
        summary="the mean of the pieces that the source's tokenizer cuts its text into",
        paper="Gee et al. 2022, EMNLP (FVT)",
        cost="one tokenization of the vocabulary",
    )

    input: Kind = "mean"
    head: Kind = "mean"
    decay: float = DECAY

    def __post_init__(self) -> None:
        check_choice("input", self.input, get_args(Kind))
        check_choice("head", self.head, get_args(Kind))
        check_share("decay", self.decay)

    def combine(self, material: MethodInputs) -> Combinations:
        """New tokens with at least one piece are made, the others get the mean row.

        Raises:
            InputError: the source's tokenizer is missing or slow.
        """
        return combine_pieces(material, input_kind=self.input, head_kind=self.head, decay=self.decay)


def combine_pieces(material: MethodInputs, *, input_kind: Kind, head_kind: Kind, decay: float) -> Combinations:
    """The new tokens as weighted sums of their pieces, see `Subword`.

    Raises:
        InputError: the source's tokenizer is missing or slow.
    """
    lengths, pieces = segment_tokens(material, material.new)
    characters = characters_of(material.source)[pieces]

    def weigh(kind: Kind) -> npt.NDArray[np.float32]:
        return piece_weights(kind, lengths, characters, decay=decay).astype(np.float32)

    return Combinations(
        target_ids=material.new,
        lengths=lengths,
        source_ids=pieces,
        values=weigh(input_kind),
        head_values=None if input_kind == head_kind else weigh(head_kind),
        fallback=Provenance.AVERAGED,
        facts={"pieces_per_token": float(lengths.mean()) if len(lengths) else 0.0},
    )
