"""What is diagnosed: the folder that a transfer made, opened and checked before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from salt_ext.checkpoint import Checkpoint, ModelOptions
from salt_ext.checkpoint.layout import read_json_object
from salt_ext.checkpoint.names import PLAN_FILE, REPORT_FILE
from salt_ext.errors import InputError
from salt_ext.files.paths import expanded
from salt_ext.pipeline.explanation import source_tokens
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.vocab import Vocabulary, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What is read of a report, each by the keys that lead to it and the type that it must have.
_READ = {
    ("method", "name"): str,
    ("method", "paper"): str,
    ("options",): dict,
    ("inputs", "source", "sha256"): dict,
    ("inputs", "donor", "sha256"): dict,
    ("rows",): dict,
    ("anchors", "by_class"): dict,
    ("warnings",): list,
    ("finished",): str,
}


@dataclass(frozen=True)
class Subject:
    """A moved model.

    Attributes:
        folder: its folder, absolute.
        report: salt_report.json.
        plan: salt_plan.safetensors.
        checkpoint: its weights.
        tokenizer: its tokenizer.
        vocabulary: what its ids stand for.
        source_tokens: what each token of the source writes; None for an id without a token.
    """

    folder: Path
    report: Mapping[str, Any]
    plan: TransferPlan
    checkpoint: Checkpoint
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary
    source_tokens: list[str | None]

    @cached_property
    def table(self) -> Tensor:
        """The input table as it is now, trained or not: [ids, hidden], in its own dtype."""
        return self.checkpoint.input_table()[: self.vocabulary.size]

    @cached_property
    def made(self) -> npt.NDArray[np.int64]:
        """Ids of the tokens whose rows a method made or drew, ascending."""
        return np.flatnonzero(np.isin(self._provenance, (Provenance.REGRESSED, Provenance.SAMPLED)) & self.has_token)

    @property
    def is_new(self) -> Tensor:
        """bool [rows of the plan], the tokens whose rows are not the source's: made, drawn or the mean row."""
        return self.plan.is_new

    @cached_property
    def copied(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Target ids of the tokens whose rows were copied, ascending, and the source id of each."""
        targets, sources = (ids.numpy() for ids in self.plan.copies())
        kept = self.has_token[targets]
        return targets[kept], sources[kept]

    @cached_property
    def text_anchors(self) -> npt.NDArray[np.bool_]:
        """bool [copied tokens], those that are text: no special tokens, and no bytes that cut a character."""
        return np.array([self.is_text(number) for number in self.copied[0].tolist()], dtype=bool)

    @cached_property
    def has_token(self) -> npt.NDArray[np.bool_]:
        """bool [ids or more rows], False for holes and padding."""
        there = np.zeros(self.plan.target_rows, dtype=bool)
        there[: self.vocabulary.size] = [token is not None for token in self.vocabulary.tokens]
        return there

    @property
    def _provenance(self) -> npt.NDArray[np.uint8]:
        found: npt.NDArray[np.uint8] = self.plan.provenance.numpy()
        return found

    def is_text(self, number: int) -> bool:
        """Whether a token is whole characters."""
        form = self.vocabulary.forms[number]
        if form is None or number in self.vocabulary.byte_ids:
            return False
        try:
            form.data.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return True

    def name(self, number: int) -> str:
        """What a token writes, for a person."""
        return self.vocabulary.readable(number) or ""


def open_subject(output: str | Path, *, trust_remote_code: bool = False) -> Subject:
    """Opens a folder that `salt_ext.transfer` made.

    Args:
        output: the folder.
        trust_remote_code: whether Python code that comes with the model may run.

    Raises:
        InputError: there is no such folder, it has no plan or report, one of them cannot be read, or the plan does not
            fit the folder's tokenizer and tables.
    """
    folder = expanded(output).absolute()
    if not folder.is_dir():
        raise InputError(f"output: there is no folder {folder}")
    for name in (PLAN_FILE, REPORT_FILE):
        if not (folder / name).is_file():
            raise InputError(f"output: {folder} has no {name}; expected the output folder of salt-ext transfer")
    report = _read_report(folder / REPORT_FILE)
    plan = TransferPlan.load(folder / PLAN_FILE)
    names = source_tokens(plan, folder)
    tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
    vocabulary = Vocabulary.from_tokenizer(tokenizer, name=str(folder))
    if vocabulary.size > plan.target_rows:
        raise InputError(
            f"output: the tokenizer in {folder} has {vocabulary.size} ids, its {PLAN_FILE} only {plan.target_rows} rows"
        )
    given = report["options"]
    options = ModelOptions(_text(given.get("embedding")), _text(given.get("head")), trust_remote_code)
    checkpoint = Checkpoint.open(folder, what="output", options=options)
    if checkpoint.vocabulary_rows != plan.target_rows:
        raise InputError(
            f"output: {folder / PLAN_FILE} makes {plan.target_rows} rows, the folder's input table has "
            f"{checkpoint.vocabulary_rows}: they do not belong together"
        )
    return Subject(folder, report, plan, checkpoint, tokenizer, vocabulary, names)


def _read_report(file: Path) -> Mapping[str, Any]:
    report = read_json_object(file)
    if report.get("made_by") != "salt-ext":
        raise InputError(f"output: {file} is no report of salt-ext transfer")
    for keys, kind in _READ.items():
        found: Any = report
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, kind):
            raise InputError(f"output: {file} has no {'.'.join(keys)}, expected a report of salt-ext transfer")
    return report


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
