"""A text as two streams of tokens, the teacher's and the student's, and the windows that both can read of it.

Each document stands behind the tokenizer's separator (bos, else eos, else nothing), as in `salt_ext.evaluation.text`.
A window reaches from one place where both streams have read the same text to another one, and holds at most `context`
tokens of either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from salt_ext.errors import InputError
from salt_ext.evaluation.boundaries import NO_END, Boundaries, Segmented, common_boundaries, segment
from salt_ext.evaluation.token_stream import document_prefix


class Window(NamedTuple):
    """What both models read in one pass.

    Attributes:
        student: int64 [n], its token ids; the last one is predicted only.
        teacher: int64 [m], likewise.
        student_ends: int64 [b], positions in `student` at which both have read the same text; the first is 0, the last
            n - 1.
        teacher_ends: int64 [b], in `teacher`.
        is_text: bool [b - 1], whether the tokens between two such places are text in both streams, no separators.
    """

    student: Tensor
    teacher: Tensor
    student_ends: Tensor
    teacher_ends: Tensor
    is_text: Tensor


class Batch(NamedTuple):
    """Windows side by side, padded behind; b boundaries in all, numbered across the windows.

    Attributes:
        student, teacher: int64 [windows, longest], token ids, padding 0.
        student_ends, teacher_ends: int64 [b], places in the flattened ids.
        begins: bool [b], the first boundary of a window: what came before it is not read.
        is_text: bool [b], whether what leads from the boundary before to this one is text; False where `begins`.
        targets: bool [windows, longest], the student's tokens that are predicted.
    """

    student: Tensor
    teacher: Tensor
    student_ends: Tensor
    teacher_ends: Tensor
    begins: Tensor
    is_text: Tensor
    targets: Tensor


def paired_windows(
    student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase, documents: Sequence[str], *, context: int
) -> list[Window]:
    """Encodes documents with both tokenizers and cuts the streams into windows, in the documents' order.

    Args:
        student: the new tokenizer.
        teacher: the source's.
        documents: the text.
        context: tokens of a window at most, of either.

    Raises:
        InputError: a tokenizer gives no offsets, or the streams have no two places in common.
    """
    mine, other = _stream(student, documents), _stream(teacher, documents)
    ends = common_boundaries(mine.tokens, other.tokens)
    if len(ends.first) < 2:
        raise InputError(f"text has {len(ends.first)} places where both tokenizers end a token, expected at least two")
    separators = mine.separators[ends.first] | other.separators[ends.second]
    windows = []
    for begin, end in _spans(ends, context):
        first, second = ends.first[begin : end + 1], ends.second[begin : end + 1]
        ids = mine.tokens.ids[first[0] : first[-1] + 1], other.tokens.ids[second[0] : second[-1] + 1]
        text = ~separators[begin + 1 : end + 1]
        windows.append(Window(*ids, first - first[0], second - second[0], text))
    return windows


def batched(windows: Sequence[Window]) -> Batch:
    """Windows as one batch."""
    student = torch.nn.utils.rnn.pad_sequence([each.student for each in windows], batch_first=True)
    teacher = torch.nn.utils.rnn.pad_sequence([each.teacher for each in windows], batch_first=True)
    lengths = torch.tensor([len(each.student) for each in windows])
    place = torch.arange(student.shape[1])
    not_first = [torch.cat([torch.zeros(1, dtype=torch.bool), each.is_text]) for each in windows]
    begins = [torch.arange(len(each.student_ends)) == 0 for each in windows]
    return Batch(
        student,
        teacher,
        torch.cat([each.student_ends + row * student.shape[1] for row, each in enumerate(windows)]),
        torch.cat([each.teacher_ends + row * teacher.shape[1] for row, each in enumerate(windows)]),
        torch.cat(begins),
        torch.cat(not_first),
        (place > 0) & (place < lengths[:, None]),
    )


class _Stream(NamedTuple):
    tokens: Segmented
    separators: Tensor


def _stream(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> _Stream:
    """The whole text as one document, a separator being one more character of it."""
    prefix = torch.tensor(document_prefix(tokenizer), dtype=torch.int64)
    ids, ends, separators, read = [], [], [], 0
    for document, found in zip(documents, segment(tokenizer, documents), strict=True):
        read += 1
        ids += [prefix, found.ids]
        ends += [torch.full_like(prefix, read), torch.where(found.ends == NO_END, NO_END, found.ends + read)]
        separators += [torch.ones(len(prefix), dtype=torch.bool), torch.zeros(len(found.ids), dtype=torch.bool)]
        read += len(document)
    return _Stream(Segmented(torch.cat(ids), torch.cat(ends)), torch.cat(separators))


def _spans(ends: Boundaries, context: int) -> Iterator[tuple[int, int]]:
    """The first and the last boundary of every window, each as long as both streams allow.

    A stretch without a common place that is longer than a window is in none.
    """
    begin = 0
    while begin < len(ends.first) - 1:
        limits = [(each, int(each[begin]) + context) for each in ends]
        end = min(int(torch.searchsorted(each, limit)) for each, limit in limits) - 1
        if end > begin:
            yield begin, end
        begin = max(end, begin + 1)
