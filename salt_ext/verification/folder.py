"""The last look at a new model folder, before it appears: opened anew and compared with what it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from salt_ext.checkpoint import Checkpoint, VocabularyTensors, config_rows
from salt_ext.checkpoint.header import FLOATING
from salt_ext.errors import InputError, OutputError, brief
from salt_ext.pair.table_facts import norms_and_finite
from salt_ext.plan import TransferPlan
from salt_ext.vocab import load_tokenizer

_BLOCK = 4096
# Words, punctuation, spaces, letters outside ASCII, a line break, digits: each family has its own way with one of them.
_SAMPLES = ("Hello world!", "  two  spaces,\nÄpfel und Straße 1234.", "Tiếng Việt — 中文 🙂", "")


class Verified(NamedTuple):
    """What was found.

    Attributes:
        checks: what was checked, one phrase each, for the report.
        norms: by name of each floating vocabulary tensor, float64 [its rows], their Euclidean norms.
    """

    checks: list[str]
    norms: dict[str, Tensor]


def verify_output(
    folder: Path,
    source: Checkpoint,
    plan: TransferPlan,
    *,
    tokenizer: PreTrainedTokenizerBase,
    dtype: torch.dtype | None = None,
) -> Verified:
    """Checks a finished folder against its source.

    Args:
        folder: the new model's folder.
        source: the checkpoint that it was made from.
        plan: how its rows were made.
        tokenizer: what was saved in the folder.
        dtype: what the floating tensors were converted to; None where they were kept.

    Raises:
        OutputError: something is not as it must be; a full or failing disk can do that.
    """
    before = source.vocabulary_tensors()
    try:
        made = Checkpoint.open(folder, what="output", options=source.options)
        after = made.vocabulary_tensors()
        again = load_tokenizer(folder, trust_remote_code=source.options.trust_remote_code)
    except InputError as error:  # what was written is no input: it is the writing that failed
        raise OutputError(f"the new model cannot be opened again: {brief(error)}") from error
    _require(
        _which(after) == _which(before),
        f"{folder}: its vocabulary tensors are {after.names}, expected {before.names}",
    )
    _require(_tensors(made) == _expected(source, plan.target_rows, dtype), f"{folder}: {_WRONG_TENSORS}")
    rows = config_rows(made.config)
    _require(rows == plan.target_rows, f"{folder}: its configuration states {rows} rows, expected {plan.target_rows}")
    copied, partners = plan.copies()
    norms = {}
    for name in before.names:
        if (found := _check_table(made, source, name, copied, partners)) is not None:
            norms[name] = found
        _check_extra(made, source, name)
    _require(
        _behaviour(again) == _behaviour(tokenizer), f"{folder}: the saved tokenizer is not opened again as it was made"
    )
    checks = [
        "keys, dtypes, shapes and tied tensors as the source's" + ("" if dtype is None else f", converted to {dtype}"),
        "rows finite",
        "anchors bit-equal" + ("" if dtype is None else " to the source's, converted"),
        "saved tokenizer reloads with the same vocabulary, special tokens and encodings",
    ]
    return Verified(checks, norms)


def _check_table(made: Checkpoint, source: Checkpoint, name: str, copied: Tensor, partners: Tensor) -> Tensor | None:
    """Norms of its rows, None of an integer table; a function of its own, so that one pair of tables is in memory."""
    dim = source.vocabulary_tensors().dims[name]
    new, old = (model.read(name).movedim(dim, 0) for model in (made, source))
    norms = _finite_norms(new, f"{made.folder}: {name} holds NaN or infinity") if new.is_floating_point() else None
    # A table with fewer rows than the vocabulary is read at row 0 for the others; a head that lacks the input table's
    # extra rows has none for their tokens.
    held = (partners < len(old)) | (len(old) < source.vocabulary_rows)
    places = torch.where(partners < len(old), partners, 0)
    same = _same_rows(new, copied[held], old, places[held])
    _require(same, f"{made.folder}: anchors of {name} differ from the source's rows")
    return norms


def _check_extra(made: Checkpoint, source: Checkpoint, name: str) -> None:
    count, dim = source.vocabulary_tensors().extra.get(name, 0), source.vocabulary_tensors().dims[name]
    if count:
        new, old = (model.read(name).movedim(dim, 0)[-count:] for model in (made, source))
        numbers = torch.arange(count)
        message = f"{made.folder}: the last {count} rows of {name} are not the source's"
        _require(_same_rows(new, numbers, old, numbers), message)


def _which(tensors: VocabularyTensors) -> tuple[Any, ...]:
    return tensors.input, tensors.head, tensors.others, tensors.tied, tensors.extra


_WRONG_TENSORS = "its tensors do not have the names, dtypes and shapes expected"


def _tensors(checkpoint: Checkpoint) -> dict[str, Any]:
    return {name: (info.torch_dtype or info.dtype, info.shape) for name, info in checkpoint.tensors.items()}


def _expected(source: Checkpoint, rows: int, dtype: torch.dtype | None) -> dict[str, Any]:
    vocabulary = source.vocabulary_tensors()
    expected = {}
    for name, (old, shape) in _tensors(source).items():
        if name in vocabulary.duplicates:
            continue
        if name in vocabulary.names:
            dim = vocabulary.dims[name]
            shape = (*shape[:dim], rows + vocabulary.extra.get(name, 0), *shape[dim + 1 :])
        expected[name] = (dtype if dtype is not None and old in FLOATING.values() else old, shape)
    return expected


def _behaviour(tokenizer: PreTrainedTokenizerBase) -> tuple[Any, ...]:
    """All that a model notices of its tokenizer."""
    return (
        tokenizer.get_vocab(),
        tokenizer.special_tokens_map,
        tokenizer.padding_side,
        tokenizer.chat_template,
        [tokenizer(text)["input_ids"] for text in _SAMPLES],
        [tokenizer(text, add_special_tokens=False)["input_ids"] for text in _SAMPLES],
        tokenizer(_SAMPLES[0], _SAMPLES[1])["input_ids"],
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise OutputError(message)


def _finite_norms(table: Tensor, message: str) -> Tensor:
    rows = table.reshape(len(table), -1)
    blocks = [norms_and_finite(rows[begin : begin + _BLOCK]) for begin in range(0, len(rows), _BLOCK)]
    _require(all(bool(finite.all()) for _, finite in blocks), message)
    return torch.cat([norms for norms, _ in blocks])


def _same_rows(new: Tensor, new_rows: Tensor, old: Tensor, old_rows: Tensor) -> bool:
    return all(
        torch.equal(
            new[new_rows[begin : begin + _BLOCK]].contiguous().view(torch.uint8),
            old[old_rows[begin : begin + _BLOCK]].to(new.dtype).contiguous().view(torch.uint8),
        )
        for begin in range(0, len(new_rows), _BLOCK)
    )
