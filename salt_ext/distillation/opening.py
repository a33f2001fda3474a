"""Teacher and student, opened and found to fit: one body, and rows that the student's plan made of the teacher's."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from salt_ext.checkpoint import Checkpoint, ModelOptions, TensorInfo
from salt_ext.checkpoint.names import PLAN_FILE, REPORT_FILE
from salt_ext.errors import InputError
from salt_ext.files.paths import expanded
from salt_ext.plan import TransferPlan
from salt_ext.vocab import Vocabulary, load_tokenizer

# Of each tensor of the body: enough to tell a trained one from the source's, without reading all of a large model.
_COMPARED_BYTES = 1 << 16


@dataclass(frozen=True)
class Learner:
    """A moved model and the source that it learns from.

    Attributes:
        teacher: the source.
        student: what `salt-ext transfer` made of it.
        plan: how.
        teacher_tokenizer: of the source.
        student_tokenizer: of the student.
        vocabulary: the student's tokens.
        teacher_tokens: the source's spellings by id.
    """

    teacher: Checkpoint
    student: Checkpoint
    plan: TransferPlan
    teacher_tokenizer: PreTrainedTokenizerBase
    student_tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary
    teacher_tokens: list[str | None]

    @property
    def dtype(self) -> torch.dtype | None:
        """What the student was converted to when it was moved; None where it has the teacher's dtypes."""
        names = [each.vocabulary_tensors().input for each in (self.student, self.teacher)]
        mine, other = self.student.tensors[names[0]].torch_dtype, self.teacher.tensors[names[1]].torch_dtype
        return None if mine == other else mine

    @property
    def new_rows(self) -> Tensor:
        """int64, ascending: tokens whose rows are neither copies nor padding."""
        return self.plan.is_new[: self.vocabulary.size].nonzero()[:, 0]


def open_learner(model: str | Path, teacher: str | Path, *, trust_remote_code: bool = False) -> Learner:
    """Opens both and compares them.

    Args:
        model: a folder that `salt-ext transfer` made.
        teacher: the source, or a sibling that the plan was applied to: folder or hub name.
        trust_remote_code: run Python code that comes with a model.

    Raises:
        InputError: the folder has no plan, a model cannot be opened, its tokenizer does not fit its table, or the
            student's body or anchors are not the teacher's.
    """
    folder = expanded(model)
    for name in (PLAN_FILE, REPORT_FILE):
        if not (folder / name).is_file():
            raise InputError(f"model {folder} has no {name}, expected the output folder of salt-ext transfer")
    plan = TransferPlan.load(folder / PLAN_FILE)
    options = ModelOptions(None, None, trust_remote_code)
    student = Checkpoint.open(folder, what="model", options=options)
    source = Checkpoint.open(teacher, what="teacher", options=options)
    old = load_tokenizer(source.folder, trust_remote_code=trust_remote_code)
    new = load_tokenizer(student.folder, trust_remote_code=trust_remote_code)
    old_vocabulary = Vocabulary.from_tokenizer(old, name=str(teacher))
    vocabulary = Vocabulary.from_tokenizer(new, name=str(folder))
    if vocabulary.size > plan.target_rows:
        raise InputError(
            f"model {folder}: its tokenizer has {vocabulary.size} ids, expected at most {plan.target_rows}, the plan's"
        )
    if plan.source_rows > max(source.vocabulary_rows, old_vocabulary.size):
        raise InputError(
            f"teacher {teacher} has {source.vocabulary_rows} rows, expected {plan.source_rows}, those of the plan in "
            f"{folder}"
        )
    _check_bodies(student, source)
    _check_anchors(student, source, plan)
    tokens = old_vocabulary.tokens[: plan.source_rows]
    return Learner(source, student, plan, old, new, vocabulary, tokens)


def _check_bodies(student: Checkpoint, teacher: Checkpoint) -> None:
    mine, other = _body(student), _body(teacher)
    for name in sorted(mine.keys() | other.keys()):
        found, expected = (list(each[name].shape) if name in each else "missing" for each in (mine, other))
        if found != expected:
            raise InputError(
                f"model {student.folder} has another body than teacher {teacher.folder}: its {name} is {found}, "
                f"expected {expected}"
            )
    for name, info in mine.items():
        # A model may have been converted to another dtype when it was moved.
        if info.dtype == other[name].dtype and _fingerprint(info) != _fingerprint(other[name]):
            raise InputError(
                f"model {student.folder} has another body than teacher {teacher.folder}: the numbers of {name} differ, "
                "expected a model that was not trained since it was moved"
            )


def _body(checkpoint: Checkpoint) -> dict[str, TensorInfo]:
    tensors = checkpoint.vocabulary_tensors()
    indexed = {*tensors.names, *tensors.duplicates}
    return {name: info for name, info in checkpoint.tensors.items() if name not in indexed}


def _fingerprint(info: TensorInfo) -> str:
    """Of the tensor's first bytes: a training changes every number."""
    with info.file.open("rb") as stream:
        stream.seek(info.begin)
        return sha256(stream.read(min(info.nbytes, _COMPARED_BYTES))).hexdigest()


def _check_anchors(student: Checkpoint, teacher: Checkpoint, plan: TransferPlan) -> None:
    rows, sources = plan.copies()
    tensors = student.vocabulary_tensors()
    new, old = student.read(tensors.input), teacher.read(teacher.vocabulary_tensors().input)
    held = sources < len(old)
    if len(new) < plan.target_rows or not torch.equal(new[rows[held]], old[sources[held]].to(new.dtype)):
        raise InputError(
            f"model {student.folder}: the rows of its anchors are not those of teacher {teacher.folder}, expected the "
            "source that it was moved from"
        )
