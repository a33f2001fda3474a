"""What a text costs: bits per byte of the moved model, of the source, and of the moved model with control rows.

The figures are those of `salt_ext.evaluation.text`, and comparable across tokenizers. The controls (see `controls`)
have the moved model's body, tokenizer and anchors, and rows that know nothing in place of the new ones: a transfer that
is no better than these has made nothing of the new tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from salt_ext.diagnosis.controls import rows_replaced
from salt_ext.diagnosis.subject import Subject
from salt_ext.evaluation.measuring import measure_stream
from salt_ext.evaluation.token_stream import TextScore, TokenStream, token_stream
from salt_ext.plan import Provenance


@dataclass(frozen=True)
class Cost:
    """A text under the models, in bits per byte.

    Attributes:
        bytes: of the text.
        moved: the moved model.
        mean_rows: with the mean row in place of every new row; None where it was not asked for.
        random_rows: with random directions of the same norms; likewise.
        source: the source with its own tokenizer; None where it is missing.
        moved_bytes_per_token: by the new tokenizer.
        source_bytes_per_token: by the source's.
        altered: lines that the new tokenizer changes: where there are any, its figures are too good.
    """

    bytes: int
    moved: float
    mean_rows: float | None
    random_rows: float | None
    source: float | None
    moved_bytes_per_token: float
    source_bytes_per_token: float | None
    altered: int


class TextMeter:
    """Measures one text, first with the moved model, then with the source."""

    def __init__(self, lines: Sequence[str], *, context: int, dtype: torch.dtype) -> None:
        """Nothing is read yet.

        Args:
            lines: the text.
            context: tokens that the models read at once.
            dtype: what matrix products are taken in.
        """
        self._lines = list(lines)
        self._measure: Callable[[PreTrainedModel, TokenStream], TextScore] = partial(
            measure_stream, context=context, dtype=dtype
        )
        self._found: dict[str, Any] = {"mean_rows": None, "random_rows": None}

    def moved(self, subject: Subject, model: PreTrainedModel, *, controls: bool) -> None:
        """Measures the moved model, and the two controls if they are wanted.

        Raises:
            InputError: the text has no tokens; or transformers does not know the model's tables.
        """
        stream = token_stream(subject.tokenizer, self._lines)
        score = self._measure(model, stream)
        self._found |= {
            "bytes": score.bytes,
            "moved": score.bits_per_byte,
            "moved_bytes_per_token": score.bytes / score.tokens,
            "altered": score.altered,
        }
        is_copied = subject.plan.provenance == Provenance.COPIED
        for control in ("mean", "random") if controls else ():
            with rows_replaced(model, subject.is_new, is_copied, control):
                self._found[f"{control}_rows"] = self._measure(model, stream).bits_per_byte

    def source(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """Measures the source."""
        score = self._measure(model, token_stream(tokenizer, self._lines))
        self._found |= {"source": score.bits_per_byte, "source_bytes_per_token": score.bytes / score.tokens}

    @property
    def cost(self) -> Cost:
        """What was measured."""
        return Cost(**({"source": None, "source_bytes_per_token": None} | self._found))
