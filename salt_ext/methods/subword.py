"""FVT (Gee et al. 2022): a new token is the mean of the pieces that the source's own tokenizer cuts its text into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from salt_ext.errors import InputError
from salt_ext.methods.assembly import Combinations
from salt_ext.methods.checks import check_choice
from salt_ext.methods.material import Material, MethodInfo
from salt_ext.vectors.pieces import form_cutter
from salt_ext.vocab import Form
from salt_ext.vocab.families import backend_of
from salt_ext.vocab.rust import rust_errors

Input = Literal["mean", "last"]
Head = Literal["mean", "decayed"]
# AdaptiVocab's factor from one piece to the next.
_DECAY = 0.5
_TOLD_EVERY = 1024


@dataclass(frozen=True)
class Subword:
    """e = sum over its pieces of their weights times their source rows; weights add up to 1.

    The text is cut as it stands in a running text, with the space of its word. A token without a piece other than the
    unknown one is left to the rest.

    Attributes:
        input: "mean" as published; "last": the last piece alone, which is what a model has read when it goes on.
        head: "mean" as published; "decayed": each piece half as much as the one before it, since a head must foresee
            the first one (Nakash et al. 2025, AdaptiVocab). Tokensurgeon's weighted mean has the same thought, but
            gives the first piece most in the input table and least in the head, against its own comment.

    Raises:
        InputError: a word is none of the choices.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="subword",
        summary="the mean of the pieces that the source's tokenizer cuts its text into",
        paper="Gee et al. 2022, EMNLP (FVT)",
        cost="one tokenization of the vocabulary",
    )

    input: Input = "mean"
    head: Head = "mean"

    def __post_init__(self) -> None:
        check_choice("input", self.input, get_args(Input))
        check_choice("head", self.head, get_args(Head))

    def combine(self, material: Material) -> Combinations:
        """New tokens with at least one piece are made, the others left.

        Raises:
            InputError: the source's tokenizer is missing or slow.
        """
        cut = source_cutter(material)
        new, pieces = material.new, []
        with rust_errors(material.source.name):
            for number, target_id in enumerate(new.tolist(), start=1):
                form = material.target.forms[target_id]
                pieces.append([] if form is None else cut(form))
                if material.progress is not None and (number % _TOLD_EVERY == 0 or number == len(new)):
                    material.progress(number, len(new))
        lengths = np.array([len(found) for found in pieces], dtype=np.int64)
        head = _decayed(lengths) if self.head == "decayed" else _mean(lengths)
        values = _last(lengths) if self.input == "last" else _mean(lengths)
        return Combinations(
            target_ids=new,
            lengths=lengths,
            source_ids=np.array([number for found in pieces for number in found], dtype=np.int64),
            values=values,
            head_values=None if self.input == self.head == "mean" else head,
            facts={"pieces_per_token": float(lengths.mean()) if len(lengths) else 0.0},
        )


def source_cutter(material: Material) -> Callable[[Form], list[int]]:
    """A function from a form to the source tokens that its text is cut into, without the unknown one.

    Raises:
        InputError: the source's tokenizer is missing or slow.
    """
    if material.source_tokenizer is None:
        raise InputError("texts are cut with the source's tokenizer: pass source_tokenizer")
    return form_cutter(material.source, backend_of(material.source_tokenizer, material.source.name))


def _mean(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    return (1 / np.repeat(lengths, lengths)).astype(np.float32)


def _last(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    values = np.zeros(lengths.sum(), dtype=np.float32)
    values[lengths.cumsum()[lengths > 0] - 1] = 1
    return values


def _decayed(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    places = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    totals = (1 - _DECAY ** np.repeat(lengths, lengths)) / (1 - _DECAY)
    return (_DECAY**places / totals).astype(np.float32)
