"""The moved model beside its source, place by place: whose states differ, and what input rows and head rows cost.

Both models read the same passages, each with its own tokenizer. Where both tokenisations end at the same character (see
`salt_ext.evaluation.boundaries`) both have read the same text, and their states can be compared.

**Layers.** With t the source's state behind such a place, s the moved model's, in each layer

    distance = median ||s - t||^2 / mean ||t - mean t||^2

the median over places whose last token is an anchor or a new token, the mean over all places: 0 is the source's own
state, 1 is as far off as a state that knows nothing of the text. (The median, since a few places of a model that reads
what it was not trained on have activations hundreds of times as large.) The same with every new token read as the mean
row is the control.

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

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from salt_ext.diagnosis.controls import mean_inputs
from salt_ext.diagnosis.reading import read, through_head
from salt_ext.diagnosis.state_sums import Cell, CellSums, Layer, LayerSums, Passage
from salt_ext.diagnosis.subject import Subject
from salt_ext.errors import InputError
from salt_ext.evaluation.boundaries import Boundaries, Segmented, common_boundaries, segment
from salt_ext.evaluation.token_stream import document_prefix
from salt_ext.plan import Provenance


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
        said_too_often: (token id, token, mean probability, true share) of the new tokens that it says most beyond
            their share.
        anchor_excess: how far the anchor that it says too often most is beyond its share: what is usual.
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
    anchor_excess: float


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
    new_prefix, old_prefix = (document_prefix(tokenizer) for tokenizer in (subject.tokenizer, source_tokenizer))
    room = context - 1
    both = zip(segment(subject.tokenizer, passages), segment(source_tokenizer, passages), strict=True)
    cut = [_cut(text, *pair, room) for text, pair in zip(passages, both, strict=True)]
    cut = [passage for passage in cut if len(passage.places.first)]
    if not cut:
        raise InputError("text: the two tokenizers' tokens end nowhere at the same character")
    is_new, is_copied = subject.is_new, subject.plan.provenance == Provenance.COPIED
    layers, cells = LayerSums(), CellSums(is_new)
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
        anchor_excess=cells.anchor_excess,
    )


def _cut(text: str, new: Segmented, old: Segmented, room: int) -> Passage:
    places = common_boundaries(new, old)
    kept = (places.first < room) & (places.second < room)
    return Passage(
        text,
        new.ids[:room].tolist(),
        old.ids[:room].tolist(),
        new.ends,
        Boundaries(places.first[kept], places.second[kept]),
    )
