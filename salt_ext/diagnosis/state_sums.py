"""Sums over passages for `salt_ext.diagnosis.states`: distances by layer, and bits by last and next token."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from salt_ext.diagnosis.reading import Reading
from salt_ext.diagnosis.subject import Subject
from salt_ext.evaluation.boundaries import Boundaries

_LISTED = 15


@dataclass(frozen=True)
class Layer:
    """How far the moved model's states are from the source's; None where there was no such place.

    Attributes:
        number: 0 is what the input table gives, the last what the head is given.
        anchors: behind anchors.
        new: behind new tokens.
        control: behind new tokens, each read as the mean row.
    """

    number: int
    anchors: float | None
    new: float | None
    control: float | None


@dataclass(frozen=True)
class Cell:
    """Places of one sort, in bits per byte of these places.

    Attributes:
        read: what the last token read is: "anchor", "new" or "any".
        said: what the next token is, likewise.
        places: how many.
        bytes: of the next tokens.
        source: what they cost the source.
        head: what the moved head adds on the source's own states.
        input: what the moved model's own states add to that.
    """

    read: str
    said: str
    places: int
    bytes: int
    source: float
    head: float
    input: float


class Passage(NamedTuple):
    """A passage in both tokenisations, cut to the context; places count within the ids without prefix."""

    text: str
    new: list[int]
    old: list[int]
    ends: Tensor  # int64 [n], of the new tokenisation
    places: Boundaries


class LayerSums:
    """Squared distances of states, place by place, and the spread of the source's, by layer."""

    def __init__(self) -> None:
        self.places = 0
        self._last_new: list[Tensor] = []
        self._mean: list[Tensor] = []  # sums of the source's states
        self._square: list[float] = []
        self._apart: list[list[Tensor]] = []  # of each passage [2, places]: the moved model's, the control's

    def add(self, student: Reading, teacher: Reading, control: Reading, places: Boundaries, last_new: Tensor) -> None:
        """Adds the states of one passage.

        Args:
            student: the moved model's.
            teacher: the source's.
            control: the moved model's with mean rows.
            places: where they are compared.
            last_new: bool [places], whether the last token there is a new one.
        """
        self.places += len(last_new)
        self._last_new.append(last_new)
        for number, (s, t, c) in enumerate(zip(student.layers, teacher.layers, control.layers, strict=True)):
            true = t[places.second].double()
            if number == len(self._mean):
                self._mean.append(torch.zeros(true.shape[1], dtype=torch.float64))
                self._square.append(0.0)
                self._apart.append([])
            self._mean[number] += true.sum(dim=0)
            self._square[number] += float(true.square().sum())
            apart = [(each[places.first].double() - true).square().sum(dim=1) for each in (s, c)]
            self._apart[number].append(torch.stack(apart))

    def found(self) -> tuple[Layer, ...]:
        """The distances."""
        new = torch.cat(self._last_new)
        made = []
        for number, (total, square, parts) in enumerate(zip(self._mean, self._square, self._apart, strict=True)):
            spread = square / self.places - float((total / self.places).square().sum())
            own, control = torch.cat(parts, dim=1)
            chosen = (own[~new], own[new], control[new])
            known = [float(each.median()) / spread if len(each) and spread > 0 else None for each in chosen]
            made.append(Layer(number, *known))
        return tuple(made)


class CellSums:
    """Bits by last and next token, and what the moved model says.

    Attributes:
        read_bytes: of the passages up to the last common boundary of each.
    """

    def __init__(self, is_new: Tensor) -> None:
        """Nothing is counted yet.

        Args:
            is_new: bool [rows], which tokens are new.
        """
        self._is_new = is_new
        self._sums: dict[tuple[bool, bool], list[float]] = {}
        self._said: Tensor | None = None
        self._true = torch.zeros(len(is_new), dtype=torch.float64)
        self._on_source = 0.0
        self.read_bytes = 0

    def add(self, passage: Passage, student: Reading, teacher: Reading, on_source: Tensor, last_new: Tensor) -> None:
        """Adds the places of one passage.

        Args:
            passage: in both tokenisations, with at least one common boundary.
            student: the moved model's.
            teacher: the source's.
            on_source: [places, outputs], logits of the moved head on the source's states.
            last_new: bool [places], whether the last token there is a new one.
        """
        first, second = passage.places
        self.read_bytes += len(passage.text[: int(passage.ends[first[-1]])].encode())
        # Of the places that are next to each other those with one new token between them.
        single = (first.diff() == 1).nonzero()[:, 0]
        if not len(single):
            return
        targets = torch.tensor(passage.new)[first[single] + 1]
        own = student.logits[first[single]].log_softmax(dim=-1)
        given = on_source[single].log_softmax(dim=-1)
        source = teacher.token_bits(torch.tensor(passage.old)).cumsum(0)
        ends = passage.ends[first]
        size = len(self._is_new)
        said = own[:, :size].exp().double().sum(dim=0)
        self._said = said if self._said is None else self._said + said
        self._on_source += float(given[:, :size].exp()[:, self._is_new].double().sum())
        self._true += torch.bincount(targets, minlength=size)
        for place, target, a, b in zip(
            single.tolist(), targets.tolist(), _bits(own, targets), _bits(given, targets), strict=True
        ):
            written = len(passage.text[int(ends[place]) : int(ends[place + 1])].encode())
            cost = float(source[second[place + 1]] - source[second[place]])
            key = (bool(last_new[place]), bool(self._is_new[target]))
            held = self._sums.setdefault(key, [0.0] * 5)
            for number, value in enumerate((1, written, cost, b, a)):
                held[number] += value

    def found(self) -> tuple[Cell, ...]:
        """The cells that occur, and all of them together at the end."""
        names = {False: "anchor", True: "new"}
        cells = [_cell(names[a], names[b], sums) for (a, b), sums in sorted(self._sums.items())]
        if not cells:
            return ()
        return (*cells, _cell("any", "any", [sum(column) for column in zip(*self._sums.values(), strict=True)]))

    @property
    def covered(self) -> float:
        """Share of the bytes that the cells speak of."""
        return sum(sums[1] for sums in self._sums.values()) / max(1, self.read_bytes)

    @property
    def _places(self) -> float:
        return max(1.0, float(self._true.sum()))

    @property
    def said_new(self) -> float:
        """Probability of new tokens, mean over places."""
        return 0.0 if self._said is None else float(self._said[self._is_new].sum()) / self._places

    @property
    def said_new_on_source(self) -> float:
        """The same on the source's states."""
        return self._on_source / self._places

    @property
    def true_new(self) -> float:
        """Share of new tokens among the next tokens."""
        return float(self._true[self._is_new].sum()) / self._places

    @property
    def anchor_excess(self) -> float:
        """How far the anchor that is said too often most is beyond its share."""
        if self._said is None:
            return 0.0
        beyond = (self._said - self._true) / self._places
        return max(0.0, float(beyond.where(~self._is_new, -math.inf).max()))

    def too_often(self, subject: Subject) -> tuple[tuple[int, str, float, float], ...]:
        """(token id, token, mean probability, true share) of the new tokens that are most beyond their share."""
        if self._said is None:
            return ()
        said, true = self._said / self._places, self._true / self._places
        beyond = torch.where(self._is_new, said - true, -math.inf)[: subject.vocabulary.size]
        best = beyond.topk(min(_LISTED, len(beyond)))
        return tuple(
            (number, subject.name(number), float(said[number]), float(true[number]))
            for number, more in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            if more > 0
        )


def _bits(logs: Tensor, targets: Tensor) -> list[float]:
    found: list[float] = (-logs.gather(1, targets[:, None])[:, 0].double() / math.log(2)).tolist()
    return found


def _cell(last: str, following: str, sums: Sequence[float]) -> Cell:
    places, written, source, given, own = sums
    size = max(1.0, written)
    return Cell(
        last, following, int(places), int(written), source / size, (given - source) / size, (own - given) / size
    )
