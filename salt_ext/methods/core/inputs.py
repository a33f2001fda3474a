"""What a method is given, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from salt_ext.errors import InputError
from salt_ext.methods.core.assembly import Combinations, new_ids
from salt_ext.runtime.device import Placement
from salt_ext.vocab import Anchors, Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Bytes that may cut a character, and special tokens, say nothing of a meaning: they are copied but explain no others.
KEY_KINDS = ("exact", "case", "loose")


@dataclass(frozen=True)
class MethodInfo:
    """What `salt-ext methods` shows.

    Attributes:
        name: as `--method` takes it.
        summary: what a new token's row is, in one line.
        paper: where it comes from.
        cost: what the work grows with.
        needs: what it uses beside the two vocabularies: "donor table", "auxiliary vectors", or an option's name.
    """

    name: str
    summary: str
    paper: str
    cost: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False, kw_only=True)
class MethodInputs:
    """Two vocabularies, what they share, and tables that are read when a method first asks for them.

    Attributes:
        source: the source's vocabulary.
        target: the new model's vocabulary.
        anchors: the tokens that both share.
        read_donor: gives floating [target.size or more, h_t], the donor's row of each target token; zeros mean none.
        read_auxiliary: gives floating [target.size or more, D], its auxiliary vector; zeros mean none.
        read_source: gives floating [source.size or more, h_s], the source's input table.
        stands_in: whether `read_donor` gives the auxiliary vectors, for want of a donor's table.
        source_tokenizer: of the source.
        target_tokenizer: of the new model.
        swapped: two ids of the target whose tokens changed places since anything else was made of its tokenizer.
        tied: whether the source's input table makes its outputs, too.
        seed: of everything that is drawn.
        placement: where the ops run; tables and plan lie on the CPU.
        progress: called with (tokens done, tokens in all).
    """

    source: Vocabulary
    target: Vocabulary
    anchors: Anchors
    read_donor: Callable[[], Tensor]
    read_auxiliary: Callable[[], Tensor]
    read_source: Callable[[], Tensor]
    stands_in: bool = False
    source_tokenizer: PreTrainedTokenizerBase | None = None
    target_tokenizer: PreTrainedTokenizerBase | None = None
    swapped: tuple[int, int] | None = None
    tied: bool = False
    seed: int = 0
    placement: Placement = field(default_factory=Placement)
    progress: Callable[[int, int], None] | None = None

    @property
    def donor(self) -> Tensor:
        """The donor's row of each target token, floating [target.size or more, h_t].

        Raises:
            InputError: the table has too few rows; or there is none, nor auxiliary vectors in its place.
        """
        return _checked(self.read_donor(), "donor table", self.target.size)

    @property
    def auxiliary(self) -> Tensor:
        """The auxiliary vector of each target token, floating [target.size or more, D].

        Raises:
            InputError: the table has too few rows; or there is none, nor a donor's table in its place.
        """
        return _checked(self.read_auxiliary(), "auxiliary vectors", self.target.size)

    @property
    def source_table(self) -> Tensor:
        """The source's input table, floating [source.size or more, h_s]."""
        return _checked(self.read_source(), "source table", self.source.size)

    @property
    def new(self) -> npt.NDArray[np.int64]:
        """The target ids that a method has to make, int64, ascending: no anchors, special tokens or holes."""
        return new_ids(self.anchors, self.target)

    @property
    def text_anchors(self) -> npt.NDArray[np.bool_]:
        """bool [anchors], those that are text, and so may explain other tokens."""
        return np.isin(self.anchors.kinds, KEY_KINDS)

    def with_anchors(self, kept: npt.NDArray[np.bool_]) -> MethodInputs:
        """The same with fewer anchors: those left out become new tokens.

        Args:
            kept: bool [anchors].
        """
        return replace(self, anchors=self.anchors.only(kept))


class Method(Protocol):
    """A way to make new rows of source rows. Its instances hold its options: a frozen dataclass, defaults published."""

    info: ClassVar[MethodInfo]

    def combine(self, material: MethodInputs) -> Combinations:
        """The rows of new tokens as combinations of source rows.

        Raises:
            InputError: the material does not suffice.
        """


def _checked(table: Tensor, name: str, rows: int) -> Tensor:
    if table.ndim != 2 or table.shape[0] < rows:
        raise InputError(f"{name}: found shape {list(table.shape)}, expected [{rows} or more, dimensions]")
    return table
