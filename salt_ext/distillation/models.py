"""One body under two vocabularies: the student's model, which the teacher's tables turn into the teacher."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from salt_ext.checkpoint import Checkpoint
from salt_ext.distillation.opening import Learner
from salt_ext.errors import InputError
from salt_ext.evaluation.opening import open_causal
from salt_ext.evaluation.precision import fast_dtype


class Models:
    """Both models in the memory of one body and two pairs of tables.

    Weights are in the dtype that the device computes in fastest, see `salt_ext.evaluation.precision`.

    Attributes:
        student: the moved model.
    """

    def __init__(self, learner: Learner, *, device: torch.device) -> None:
        """Reads the student's weights and the teacher's tables.

        Raises:
            InputError: transformers cannot open the student as a causal language model, or more than an input table
                and a head depends on the vocabulary.
        """
        tensors = learner.teacher.vocabulary_tensors()
        if tensors.others:
            raise InputError(
                f"teacher has {', '.join(tensors.others)} beside an input table and a head, expected no other tensor "
                "that the vocabulary indexes"
            )
        student = learner.student
        self.student = open_causal(
            student.folder, trust=student.options.trust_remote_code, dtype=fast_dtype(device), device=device
        )
        self._input = _with_rows(self.student.get_input_embeddings(), learner.teacher, tensors.input)
        self._head = self.student.get_output_embeddings()
        if tensors.head is not None:
            self._head = _with_rows(self._head, learner.teacher, tensors.head)
        elif self._head is not None:
            self._head = copy.deepcopy(self._head)
            self._head.weight = self._input.weight

    @contextmanager
    def teacher(self) -> Iterator[PreTrainedModel]:
        """The model reads and writes the source's tokens in the block; its rows have no gradients."""
        model = self.student
        mine = model.get_input_embeddings(), model.get_output_embeddings()
        model.set_input_embeddings(self._input)
        model.set_output_embeddings(self._head)
        try:
            with torch.no_grad():
                yield model
        finally:
            model.set_input_embeddings(mine[0])
            model.set_output_embeddings(mine[1])


def _with_rows(module: Any, checkpoint: Checkpoint, name: str) -> Any:
    """A copy of an embedding or a head with a table of the checkpoint; what scales rows in it stays."""
    other = copy.deepcopy(module)
    other.weight = nn.Parameter(checkpoint.read(name).to(module.weight), requires_grad=False)
    # An id of the student's vocabulary.
    if hasattr(other, "padding_idx"):
        other.padding_idx = None
    return other
