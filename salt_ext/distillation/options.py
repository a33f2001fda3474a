"""Every option of a distillation, one object from the command line to the report, checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from salt_ext.errors import InputError
from salt_ext.runtime.device import AUTO, choose_device


@dataclass(frozen=True, kw_only=True)
class DistillOptions:
    """How new rows learn from the source.

    Defaults are what measured best on SmolLM2-135M, moved to German and to a WordPiece of English: the next token alone
    (figures: `salt_ext/adaptation/README.md`). Where the source is good in the new language its own probabilities may
    teach more: `chunks=1`. Token Distillation as published is `states=1, next_token=0`.

    Attributes:
        text: UTF-8 files in the new language, a document a line. A part that no window overlaps measures the result.
        tokens: of the new tokenizer, that are learned from; the text is read again where it is shorter.
        states: weight of the loss of hidden states, see `salt_ext.distillation.losses`.
        chunks: weight of the loss of chunk probabilities.
        next_token: weight of the loss of the next token.
        layer: whose hidden states are compared, 1 for what the first layer gives; None for a third of the body.
        learning_rate: of the input table's rows, as a share of the root mean square of its numbers a step.
        head_learning_rate: of an untied head's, as a share of its own; None for the same share.
        temperature: of the chunk probabilities.
        context: tokens that either model reads at once.
        tokens_per_step: of the new tokenizer, about; whole windows are read.
        seed: of the order of the windows.
        device: "auto", "cpu", "cuda" or "cuda:N".
        threads: of the CPU; None for torch's own choice.

    Raises:
        InputError: a value is out of its range.
    """

    text: Sequence[str | Path] = ()
    tokens: int = 100_000
    states: float = 0.0
    chunks: float = 0.0
    next_token: float = 1.0
    layer: int | None = None
    learning_rate: float = 0.022
    head_learning_rate: float | None = None
    temperature: float = 100.0
    context: int = 512
    tokens_per_step: int = 1024
    seed: int = 0
    device: str = AUTO
    threads: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.text, str | Path) or not self.text:
            raise InputError(f"text is {self.text!r}, expected a list of files in the new language")
        for name in ("tokens", "context", "tokens_per_step", "layer", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}, expected a whole number of at least 1")
        if self.context < 2:
            raise InputError(f"context is {self.context}, expected at least 2 tokens")
        for name in ("states", "chunks", "next_token"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise InputError(f"{name} is {value}, expected a weight of at least 0")
        if not self.states and not self.chunks and not self.next_token:
            raise InputError("states, chunks and next_token are all 0, expected one loss at least")
        for name in ("learning_rate", "head_learning_rate", "temperature"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise InputError(f"{name} is {value}, expected a number above 0")
        if isinstance(self.seed, bool) or not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}, expected a whole number from 0 to 2**63 - 1")
        _ = self.torch_device

    @cached_property
    def torch_device(self) -> torch.device:
        """Where the models run."""
        return choose_device(self.device)

    @property
    def reads_all_layers(self) -> bool:
        """Whether a loss needs what the last layer gives."""
        return bool(self.chunks or self.next_token)

    def as_json(self) -> dict[str, Any]:
        """For the report: every option as it was given."""
        given = {option.name: getattr(self, option.name) for option in fields(self)}
        return given | {"text": [str(file) for file in self.text]}
