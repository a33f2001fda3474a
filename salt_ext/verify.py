"""The last look at a new model folder, before it appears: opened anew and compared with what it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from salt_ext.checkpoint import Checkpoint
from salt_ext.errors import OutputError
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.vocab import Vocabulary, load_tokenizer

_BLOCK = 4096


def verify_output(folder: Path, source: Checkpoint, plan: TransferPlan, target: Vocabulary) -> list[str]:
    """Checks a finished folder against its source.

    Args:
        folder: the new model's folder.
        source: the checkpoint that it was made from.
        plan: how its rows were made.
        target: the vocabulary that its tokenizer must have.

    Returns:
        What was checked, one phrase each, for the report.

    Raises:
        OutputError: something is not as it must be; a full or failing disk can do that.
    """
    made = Checkpoint.open(folder, what="output")
    before, after = source.vocabulary_tensors(), made.vocabulary_tensors()
    _require(
        (after.input, after.head, after.others, after.tied) == (before.input, before.head, before.others, before.tied),
        f"{folder}: its vocabulary tensors are {after.names}, expected {before.names}",
    )
    kept = {name: (info.dtype, info.shape) for name, info in source.tensors.items() if name not in before.duplicates}
    expected: Mapping[str, object] = kept | {
        name: (source.tensors[name].dtype, (plan.target_rows, *source.tensors[name].shape[1:])) for name in before.names
    }
    found = {name: (info.dtype, info.shape) for name, info in made.tensors.items()}
    _require(found == expected, f"{folder}: its tensors do not have the names, dtypes and shapes expected")
    copied = plan.rows(Provenance.COPIED)
    partners = plan.col_indices[plan.crow_indices[copied]]
    for name in before.names:
        new, old = made.read(name), source.read(name)
        _require(_finite(new), f"{folder}: {name} holds NaN or infinity")
        _require(_same_rows(new, copied, old, partners), f"{folder}: anchors of {name} differ from the source's rows")
    again = Vocabulary.from_tokenizer(load_tokenizer(folder), name="output")
    _require(
        (again.tokens, again.roles) == (target.tokens, target.roles),
        f"{folder}: the saved tokenizer has another vocabulary than the donor's",
    )
    return [
        "keys, dtypes, shapes and tied tensors as the source's",
        "rows finite",
        "anchors bit-equal",
        "saved tokenizer reloads with the donor's vocabulary",
    ]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise OutputError(message)


def _finite(table: Tensor) -> bool:
    return all(bool(table[begin : begin + _BLOCK].isfinite().all()) for begin in range(0, len(table), _BLOCK))


def _same_rows(new: Tensor, new_rows: Tensor, old: Tensor, old_rows: Tensor) -> bool:
    return all(
        torch.equal(
            new[new_rows[begin : begin + _BLOCK]].contiguous().view(torch.uint8),
            old[old_rows[begin : begin + _BLOCK]].contiguous().view(torch.uint8),
        )
        for begin in range(0, len(new_rows), _BLOCK)
    )
