"""The source's tables: every read of them, and the new model's tables made of them by one plan.

Memory is bounded by one table and what is made of it, so a table is read again each time that it is wanted: to be
hashed and measured, for the methods (the input table alone, kept until `close`), and when its successor's turn comes to
be written. Only the last look at a finished folder (`salt_ext.verification`) reads for itself, from both folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

import torch
from torch import Tensor

from salt_ext.checkpoint import Checkpoint, NewTensor
from salt_ext.checkpoint.header import FLOATING
from salt_ext.pair.table_facts import TableFacts, examine_table
from salt_ext.plan import TransferPlan
from salt_ext.runtime.device import Placement

# What a plan takes on a GPU beside the table: a block of sums, and their weights.
_BLOCKS_ON_DEVICE = 256 << 20


class SourceTables:
    """Every tensor of a checkpoint that the vocabulary indexes: the input table, a head, its bias, and others."""

    def __init__(self, checkpoint: Checkpoint, tokens: Sequence[str | None]) -> None:
        """Reads nothing.

        Args:
            checkpoint: the source.
            tokens: its spellings by id; rows behind them are padding.
        """
        self._checkpoint, self._tokens = checkpoint, tokens

    @cached_property
    def input(self) -> Tensor:
        """The input table, one row at least for each token; kept until `close`."""
        return self._read(self._checkpoint.vocabulary_tensors().input)

    def close(self) -> None:
        """Gives the input table's memory back; it is read again if it is asked for."""
        self.__dict__.pop("input", None)

    def examine(self) -> dict[str, TableFacts]:
        """Facts of each floating table, by name.

        Raises:
            InputError: the row of a token holds NaN or infinity, or a table cannot be read.
        """
        tensors = self._checkpoint.tensors
        names = [name for name in self._checkpoint.vocabulary_tensors().names if tensors[name].dtype in FLOATING]
        return {name: examine_table(self._read(name), name=f"source: {name}", tokens=self._tokens) for name in names}

    def moved(
        self, plan: TransferPlan, *, dtype: torch.dtype | None = None, placement: Placement | None = None
    ) -> dict[str, NewTensor]:
        """What replaces the tables; nothing is computed before it is asked for.

        Rows that a family has behind its vocabulary's are behind the new vocabulary's as they were.

        Args:
            plan: how the new rows are made.
            dtype: of the new tensors; None for each one's own.
            placement: where the plan's weighted sums are taken, the CPU if not given; the new tensors lie on the CPU.
        """
        tensors = self._checkpoint.vocabulary_tensors()
        made = {}
        for name in tensors.names:
            shape = list(self._checkpoint.tensors[name].shape)
            shape[tensors.dims[name]] = plan.target_rows + tensors.extra.get(name, 0)
            make = partial(self._make, name, plan, dtype, placement or Placement())
            made[name] = NewTensor(tuple(shape), make)
        return made

    def _read(self, name: str) -> Tensor:
        """A table with the vocabulary as its first dimension, in its own dtype, a row at least for each token.

        A tensor that has fewer rows is continued by its row 0, which the families that have such tensors read for every
        id beyond (see `VocabularyTensors.others`); one that only lacks the extra rows of the input table (a head: see
        `VocabularyTensors.extra`) by its mean row, which gives tokens that the source cannot write no more than an
        average logit.
        """
        checkpoint = self._checkpoint
        table = checkpoint.read(name).movedim(checkpoint.vocabulary_tensors().dims[name], 0)
        missing = len(self._tokens) - table.shape[0]
        if missing <= 0:
            return table
        outputs = table.is_floating_point() and table.shape[0] >= checkpoint.vocabulary_rows
        filling = table.double().mean(0, keepdim=True).to(table.dtype) if outputs else table[:1]
        return torch.cat([table, filling.expand(missing, *table.shape[1:])])

    def _make(self, name: str, plan: TransferPlan, dtype: torch.dtype | None, placement: Placement) -> Tensor:
        rows, tensors = self._read(name), self._checkpoint.vocabulary_tensors()
        if rows.is_floating_point():
            width = torch.promote_types(rows.dtype, dtype or rows.dtype).itemsize
            needed = rows.numel() * width + _BLOCKS_ON_DEVICE
            # A bias that the vocabulary indexes belongs to the head.
            head = name == tensors.head or rows.ndim == 1
            learned = name in (tensors.input, tensors.head)
            made = placement.run("weighted sums", partial(_apply, plan, rows, head, learned, dtype), needed=needed)
        else:
            made = looked_up(plan, rows)
        if extra := tensors.extra.get(name, 0):
            begin = self._checkpoint.vocabulary_rows
            made = torch.cat([made, rows[begin : begin + extra].to(made.dtype)])
        del rows
        return made.movedim(0, tensors.dims[name]).contiguous()


def looked_up(plan: TransferPlan, table: Tensor) -> Tensor:
    """An integer table for the new tokens: no sum of its rows has a meaning, so each new row is one of the old ones.

    A token takes the row of the source token that has the largest weight in its own row (of equal ones the lowest id),
    a copied token its source's. A token without weights (its row is drawn or a mean) takes the row of its own id modulo
    the source's tokens, which spreads such tokens as evenly as the source's are.

    Args:
        plan: how rows are made.
        table: integer [at least source_rows, ...].

    Returns:
        [target_rows, ...] in the table's dtype.
    """
    chosen = torch.arange(plan.target_rows) % plan.source_rows
    owners = torch.repeat_interleave(torch.arange(plan.target_rows), plan.crow_indices.diff())
    # The last of a row's entries stays: the heaviest, and of equal ones the first.
    order = torch.argsort(plan.values.abs(), stable=True, descending=True).flip(0)
    order = order[torch.argsort(owners[order], stable=True)]
    last = plan.crow_indices[1:] - 1
    filled = plan.crow_indices.diff() > 0
    chosen[filled] = plan.col_indices[order[last[filled]]]
    return table[chosen]


def _apply(
    plan: TransferPlan, rows: Tensor, head: bool, learned: bool, dtype: torch.dtype | None, device: torch.device
) -> Tensor:
    return plan.apply(rows, head=head, learned=learned, dtype=dtype, device=device)
