"""What a student learns: a difference for the rows of some tokens in its input table and its head, all else frozen.

The model's own weights stay as they are. What looks tokens up adds the difference to their rows, and a hook on the head
adds its share to their logits: no gradient and no optimizer state is kept for any other row, and the memory that a
training takes does not grow with the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel

from salt_ext.errors import InputError


class LearnedRows:
    """Differences of rows, zero at first.

    Attributes:
        rows: int64 [m], the tokens, ascending.
        input: float32 [m, width], for the input table.
        head: float32 [m, width], for the head: the same parameter as `input` where the two tables are one.
        tied: whether they are.
    """

    def __init__(self, model: PreTrainedModel, rows: Tensor) -> None:
        """Freezes the model's parameters and puts it in evaluation mode.

        Args:
            model: a causal language model.
            rows: int64 [m], ascending, the tokens whose rows learn.

        Raises:
            InputError: its input table is no Embedding, or its head is not linear.
        """
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        if not isinstance(embedding, nn.Embedding) or not isinstance(head, nn.Linear):
            kinds = f"{type(embedding).__name__} and a {type(head).__name__}"
            raise InputError(f"model reads and writes its tokens by a {kinds}, expected an Embedding and a Linear")
        self._model, self._embedding, self._head = model, embedding, head
        self.rows = rows.to(embedding.weight.device)
        self.input = nn.Parameter(embedding.weight.new_zeros(len(rows), embedding.weight.shape[1]).float())
        self.tied = head.weight is embedding.weight
        self.head = self.input if self.tied else nn.Parameter(torch.zeros_like(self.input))
        model.requires_grad_(False)
        model.eval()

    @property
    def tables(self) -> dict[str, tuple[nn.Parameter, Tensor]]:
        """What learns, and float32 [m, width], the rows that it is added to: "input", and "head" if that is another."""
        found = {"input": (self.input, self._embedding.weight)}
        if not self.tied:
            found["head"] = (self.head, self._head.weight)
        return {name: (learned, weight.detach()[self.rows].float()) for name, (learned, weight) in found.items()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model reads and writes with the learned rows in the block."""
        hook = self._head.register_forward_hook(self._add_to_logits)
        self._model.set_input_embeddings(_Lookup(self._embedding, self.rows, self.input))
        try:
            yield
        finally:
            self._model.set_input_embeddings(self._embedding)
            hook.remove()

    def _add_to_logits(self, _: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        added = nn.functional.linear(args[0], self.head.to(args[0].dtype))
        return output.index_add(-1, self.rows, added.to(output.dtype))


class _Lookup(nn.Module):
    """An input embedding some of whose rows have a difference on top.

    The family's own module does the lookup, in a table of the batch's rows alone: some scale or normalise their rows.
    """

    def __init__(self, inner: nn.Embedding, rows: Tensor, difference: nn.Parameter) -> None:
        super().__init__()
        # In lists, which torch does not look into: they are no parts of the model.
        self._inner, self._difference = [inner], [difference]
        self._places = rows.new_full((inner.weight.shape[0],), len(rows))
        self._places[rows] = torch.arange(len(rows), device=rows.device)

    def forward(self, ids: Tensor) -> Tensor:
        (inner,), (difference,) = self._inner, self._difference
        used, places = ids.unique(return_inverse=True)
        padded = torch.cat([difference, difference.new_zeros(1, difference.shape[1])])
        # Summed before it is rounded: a difference may be too small to move a row of bfloat16 step by step.
        table = (inner.weight[used] + padded[self._places[used]]).to(inner.weight.dtype)
        padding, inner.padding_idx = inner.padding_idx, None  # an id, not a place; it would get no gradient
        try:
            found: Tensor = functional_call(inner, {"weight": table}, (places,))
        finally:
            inner.padding_idx = padding
        return found
