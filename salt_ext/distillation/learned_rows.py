"""What a student learns: differences for the rows of new tokens in its input table and its head, all else frozen.

Every new token that the text holds has a difference of its own; all new tokens have a common one on top, which few
tokens teach fast: what is wrong with all of them alike, such as a length or a bias against anchors.

The model's own weights stay as they are. What looks tokens up adds the differences to their rows, and a hook on the
head adds their share to the logits: no gradient and no optimizer state is kept for any other row, and the memory that a
training takes does not grow with the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel

from salt_ext.errors import InputError


class Differences(NamedTuple):
    """What is learned of one table, zero at first.

    Attributes:
        own: float32 [m, width], of each token that the text holds.
        common: float32 [1, width], of all new tokens.
    """

    own: nn.Parameter
    common: nn.Parameter

    @classmethod
    def of(cls, table: Tensor, count: int) -> Differences:
        """Zeros for so many tokens of a table."""
        zeros = table.new_zeros(count + 1, table.shape[1], dtype=torch.float32)
        return cls(nn.Parameter(zeros[:count].clone()), nn.Parameter(zeros[count:].clone()))

    def rows(self, others: int) -> Tensor:
        """float32 [m + others, width]: those of the tokens in the text, then of so many others."""
        return torch.cat([self.own + self.common, self.common.expand(others, -1)])


class LearnedRows:
    """Differences of the rows of new tokens.

    Attributes:
        rows: int64 [m], the new tokens that the text holds, ascending.
        others: int64 [n], the other new tokens, ascending.
        input: for the input table.
        head: for the head: the same parameters as `input` where the two tables are one.
        tied: whether they are.
    """

    def __init__(self, model: PreTrainedModel, rows: Tensor, others: Tensor) -> None:
        """Freezes the model's parameters and puts it in evaluation mode.

        Args:
            model: a causal language model.
            rows: int64 [m], ascending, the new tokens that the text holds.
            others: int64 [n], ascending, the other new tokens.

        Raises:
            InputError: its input table is no Embedding, or its head is not linear.
        """
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        if not isinstance(embedding, nn.Embedding) or not isinstance(head, nn.Linear):
            kinds = f"{type(embedding).__name__} and a {type(head).__name__}"
            raise InputError(f"model reads and writes its tokens by a {kinds}, expected an Embedding and a Linear")
        self._model, self._embedding, self._head = model, embedding, head
        self.rows, self.others = (each.to(embedding.weight.device) for each in (rows, others))
        self.input = Differences.of(embedding.weight, len(rows))
        self.tied = head.weight is embedding.weight
        self.head = self.input if self.tied else Differences.of(head.weight, len(rows))
        model.requires_grad_(False)
        model.eval()

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that learns, each once."""
        return [*self.input, *(() if self.tied else self.head)]

    @property
    def tables(self) -> dict[str, tuple[Differences, Tensor]]:
        """What learns, and float32 [m + n, width], the rows that it is added to, those of `others` behind.

        By name: "input", and "head" if that is another table.
        """
        found = {"input": (self.input, self._embedding.weight)}
        if not self.tied:
            found["head"] = (self.head, self._head.weight)
        ids = torch.cat([self.rows, self.others])
        return {name: (learned, weight.detach()[ids].float()) for name, (learned, weight) in found.items()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model reads and writes with the learned rows in the block."""
        hook = self._head.register_forward_hook(self._add_to_logits)
        self._model.set_input_embeddings(_Lookup(self._embedding, self.rows, self.others, self.input))
        try:
            yield
        finally:
            self._model.set_input_embeddings(self._embedding)
            hook.remove()

    def _add_to_logits(self, _: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
        states = args[0]
        own, common = (each.to(states.dtype) for each in (self.head.own + self.head.common, self.head.common))
        found = output.index_add(-1, self.rows, nn.functional.linear(states, own).to(output.dtype))
        shared = nn.functional.linear(states, common).to(output.dtype)
        return found.index_add(-1, self.others, shared.expand(*shared.shape[:-1], len(self.others)))


class _Lookup(nn.Module):
    """An input embedding whose new tokens have differences on top.

    The family's own module does the lookup, in a table of the batch's rows alone: some scale or normalise their rows.
    """

    def __init__(self, inner: nn.Embedding, rows: Tensor, others: Tensor, learned: Differences) -> None:
        super().__init__()
        # In lists, which torch does not look into: they are no parts of the model.
        self._inner, self._learned = [inner], [learned]
        self._places = rows.new_full((inner.weight.shape[0],), len(rows) + 1)
        self._places[rows] = torch.arange(len(rows), device=rows.device)
        self._places[others] = len(rows)

    def forward(self, ids: Tensor) -> Tensor:
        (inner,), (learned,) = self._inner, self._learned
        used, places = ids.unique(return_inverse=True)
        differences = torch.cat([learned.rows(1), torch.zeros_like(learned.common)])
        # Summed before it is rounded: a difference may be too small to move a row of bfloat16 step by step.
        table = (inner.weight[used] + differences[self._places[used]]).to(inner.weight.dtype)
        padding, inner.padding_idx = inner.padding_idx, None  # an id, not a place; it would get no gradient
        try:
            found: Tensor = functional_call(inner, {"weight": table}, (places,))
        finally:
            inner.padding_idx = padding
        return found
