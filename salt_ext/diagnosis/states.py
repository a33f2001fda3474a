"""The moved model beside its source, place by place: whose states differ, and what input rows and head rows cost.

Both models read the same passages, each with its own tokenizer. Where both tokenisations end at the same character (see
`salt_ext.evaluation.boundaries`) both have read the same text, and their states can be compared.

**Layers.** With t the source's state behind such a place, s the moved model's, in each layer

    distance = mean ||s - t||^2 / mean ||t - mean t||^2

over places whose last token is an anchor or a new token: 0 is the source's own state, 1 is as far off as a state that
knows nothing of the text. The same with every new token read as the mean row is the control.

**Input and head.** Between two such places that are next to each other and have a single new-tokenizer token y between
them, the same bytes were said by both. With h() a model's head and softmax,

    source = -sum of log2 p of the source's tokens there
    head's part  = -log2 h_moved(y | t) - source          the moved head on the source's own state
    input's part = -log2 h_moved(y | s) + log2 h_moved(y | t)
    moved = source + head's part + input's part

each per byte of these places. So a bad head shows even behind a perfect state, and the input's part is what is lost
because the state is not the source's. The head's part also has what the two tokenizers differ in (the source may spell
the same bytes in another way, the new one cannot).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from salt_ext.diagnosis.controls import mean_inputs
from salt_ext.diagnosis.reading import Reading, read, through_head
from salt_ext.diagnosis.subject import Subject
from salt_ext.errors import InputError
from salt_ext.evaluation.boundaries import Boundaries, Segmented, common_boundaries, segment
from salt_ext.plan import Provenance

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


@dataclass(frozen=True)
class States:
    """What the comparison found.

    Attributes:
        places: common boundaries.
        bytes: of the passages that were read.
        layers: from the input table to the head.
        cells: by last and next token, those that occur, and all of them together at the end.
        covered: share of the passages' bytes that the cells speak of.
        said_new: the probability that the moved model gives to new tokens, mean over the cells' places.
        said_new_on_source_states: the same of its head on the source's states.
        true_new: the share of new tokens among the next tokens.
        said_too_often: (token id, token, mean probability, true share), new tokens that it says most beyond their share.
    """

    places: int
    bytes: int
    layers: tuple[Layer, ...]
    cells: tuple[Cell, ...]
    covered: float
    said_new: float
    said_new_on_source_states: float
    true_new: float
    said_too_often: tuple[tuple[int, str, float, float], ...]


class _Passage(NamedTuple):
    """A passage in both tokenisations, cut to the context; places count within the ids without prefix."""

    text: str
    new: list[int]
    old: list[int]
    ends: Tensor  # int64 [n], of the new tokenisation
    places: Boundaries


def compare_states(
    subject: Subject,
    moved: PreTrainedModel,
    source: PreTrainedModel,
    source_tokenizer: PreTrainedTokenizerBase,
    passages: Sequence[str],
    *,
    context: int,
    dtype: torch.dtype,
    progress: Callable[[int, int], None] | None = None,
) -> States:
    """Reads the passages with both models.

    Args:
        subject: the moved model's folder.
        moved: the model in it.
        source: its source.
        source_tokenizer: of the source.
        passages: texts in the new language.
        context: tokens that the models read at once; what is longer is cut.
        dtype: what matrix products are taken in.
        progress: called with (passages done, passages in all).

    Raises:
        InputError: the two tokenisations have no place in common, a tokenizer gives no offsets, or the model's head is
            no module that can be asked alone.
    """
    new_prefix, old_prefix = (_prefix(tokenizer) for tokenizer in (subject.tokenizer, source_tokenizer))
    room = context - 1
    both = zip(segment(subject.tokenizer, passages), segment(source_tokenizer, passages), strict=True)
    cut = [_cut(text, *pair, room) for text, pair in zip(passages, both, strict=True)]
    cut = [passage for passage in cut if len(passage.places.first)]
    if not cut:
        raise InputError("text: the two tokenizers' tokens end nowhere at the same character")
    is_new, is_copied = subject.is_new, subject.plan.provenance == Provenance.COPIED
    layers, cells = _Layers(), _Cells(is_new)
    for done, passage in enumerate(cut):
        student = read(moved, [*new_prefix, *passage.new], dtype)
        teacher = read(source, [*old_prefix, *passage.old], dtype)
        student, teacher = student.behind(len(new_prefix)), teacher.behind(len(old_prefix))
        with mean_inputs(moved, is_new, is_copied):
            control = read(moved, [*new_prefix, *passage.new], dtype).behind(len(new_prefix))
        last_new = is_new[torch.tensor(passage.new)[passage.places.first]]
        layers.add(student, teacher, control, passage.places, last_new)
        on_source = through_head(moved, teacher.head_input[passage.places.second], dtype)
        cells.add(passage, student, teacher, on_source, last_new)
        if progress is not None:
            progress(done + 1, len(cut))
    return States(
        places=layers.places,
        bytes=cells.read_bytes,
        layers=layers.found(),
        cells=cells.found(),
        covered=cells.covered,
        said_new=cells.said_new,
        said_new_on_source_states=cells.said_new_on_source,
        true_new=cells.true_new,
        said_too_often=cells.too_often(subject),
    )


def _prefix(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """What both models read before a document, as `token_stream` has it."""
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    return [] if first is None else [int(first)]


def _cut(text: str, new: Segmented, old: Segmented, room: int) -> _Passage:
    places = common_boundaries(new, old)
    kept = (places.first < room) & (places.second < room)
    return _Passage(
        text,
        new.ids[:room].tolist(),
        old.ids[:room].tolist(),
        new.ends,
        Boundaries(places.first[kept], places.second[kept]),
    )


class _Layers:
    """Sums of squares, by layer."""

    def __init__(self) -> None:
        self.places = 0
        self._mean: list[Tensor] = []  # sums of the source's states
        self._square: list[float] = []
        self._apart: list[list[float]] = []  # behind anchors, behind new tokens, the control's behind these
        self._counts = [0, 0]

    def add(
        self, student: Reading, teacher: Reading, control: Reading, places: Boundaries, last_new: Tensor
    ) -> None:
        self.places += len(last_new)
        self._counts = [self._counts[0] + int((~last_new).sum()), self._counts[1] + int(last_new.sum())]
        for number, (s, t, c) in enumerate(zip(student.layers, teacher.layers, control.layers, strict=True)):
            true = t[places.second].double()
            apart, control_apart = (
                (each[places.first].double() - true).square().sum(dim=1) for each in (s, c)
            )
            sums = [apart[~last_new].sum(), apart[last_new].sum(), control_apart[last_new].sum()]
            if number == len(self._mean):
                self._mean.append(torch.zeros(true.shape[1], dtype=torch.float64))
                self._square.append(0.0)
                self._apart.append([0.0, 0.0, 0.0])
            self._mean[number] += true.sum(dim=0)
            self._square[number] += float(true.square().sum())
            self._apart[number] = [old + float(more) for old, more in zip(self._apart[number], sums, strict=True)]

    def found(self) -> tuple[Layer, ...]:
        made = []
        for number, (total, square, apart) in enumerate(zip(self._mean, self._square, self._apart, strict=True)):
            spread = square / self.places - float((total / self.places).square().sum())
            counts = (*self._counts, self._counts[1])
            ratios = [
                sums / count / spread if count and spread > 0 else None
                for sums, count in zip(apart, counts, strict=True)
            ]
            made.append(Layer(number, *ratios))
        return tuple(made)


class _Cells:
    """Bits by last and next token, and what the moved model says."""

    def __init__(self, is_new: Tensor) -> None:
        self._is_new = is_new
        self._sums: dict[tuple[bool, bool], list[float]] = {}
        self._said: Tensor | None = None
        self._true = torch.zeros(len(is_new), dtype=torch.float64)
        self._on_source = 0.0
        self.read_bytes = 0

    def add(
        self, passage: _Passage, student: Reading, teacher: Reading, on_source: Tensor, last_new: Tensor
    ) -> None:
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
        names = {False: "anchor", True: "new"}
        cells = [_cell(names[a], names[b], sums) for (a, b), sums in sorted(self._sums.items())]
        if not cells:
            return ()
        return (*cells, _cell("any", "any", [sum(column) for column in zip(*self._sums.values(), strict=True)]))

    @property
    def covered(self) -> float:
        return sum(sums[1] for sums in self._sums.values()) / max(1, self.read_bytes)

    @property
    def _places(self) -> float:
        return max(1.0, float(self._true.sum()))

    @property
    def said_new(self) -> float:
        return 0.0 if self._said is None else float(self._said[self._is_new].sum()) / self._places

    @property
    def said_new_on_source(self) -> float:
        return self._on_source / self._places

    @property
    def true_new(self) -> float:
        return float(self._true[self._is_new].sum()) / self._places

    def too_often(self, subject: Subject) -> tuple[tuple[int, str, float, float], ...]:
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
    return Cell(last, following, int(places), int(written), source / size, (given - source) / size, (own - given) / size)
