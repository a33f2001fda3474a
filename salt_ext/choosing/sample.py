"""The text that `auto` measures and trains on: lines of all files, a part for each, none in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salt_ext.errors import InputError
from salt_ext.evaluation.documents import HELD_OUT_BYTES, read_documents
from salt_ext.evaluation.token_stream import TokenStream, token_stream
from salt_ext.pair.pair import Pair

# Of the longest training: 50 steps of 2,048 tokens, which are shorter than this in most texts.
_TRAINING_BYTES = 50 * 2048 * 8


@dataclass(frozen=True)
class Sample:
    """Lines, no two alike.

    Attributes:
        files: where they come from.
        held_out: to measure on.
        training: to train on, in a drawn order.
    """

    files: tuple[str, ...]
    held_out: list[str]
    training: list[str]

    def encode(self, pair: Pair, *, context: int) -> Streams:
        """The sample as tokens.

        Args:
            pair: whose tokenizers do it.
            context: tokens that the model reads at once; a training needs more than one such window.

        Raises:
            InputError: a tokenizer fails on the text.
        """
        held_out = token_stream(pair.target.tokenizer, self.held_out)
        training = token_stream(pair.target.tokenizer, self.training) if self.training else None
        return Streams(
            held_out,
            training if training is not None and len(training.ids) > context else None,
            len(self.held_out),
            bytes_per_token=_bytes_per_token(held_out),
            bytes_per_source_token=_bytes_per_token(token_stream(pair.source.tokenizer, self.held_out)),
        )


@dataclass(frozen=True)
class Streams:
    """The same, encoded.

    Attributes:
        held_out: by the new tokenizer.
        training: by the new tokenizer; None where it does not fill a window.
        bytes_per_token: of the new tokenizer on `held_out`.
        bytes_per_source_token: of the source's.
        documents: lines of `held_out`.
    """

    held_out: TokenStream
    training: TokenStream | None
    documents: int
    bytes_per_token: float
    bytes_per_source_token: float

    def require_length(self, context: int) -> None:
        """Checks that there is enough to measure on.

        Raises:
            InputError: it does not fill a window.
        """
        if len(self.held_out.ids) <= context:
            raise InputError(
                f"text: the part of it that is measured on has {len(self.held_out.ids)} tokens, expected more than one "
                f"window of {context}: give a longer text, such as {2 * HELD_OUT_BYTES // 1000} kB, or --time-limit 0"
            )

    @property
    def facts(self) -> dict[str, Any]:
        """For the report."""
        return {
            "bytes": self.held_out.bytes,
            "bytes_per_token": round(self.bytes_per_token, 3),
            "bytes_per_source_token": round(self.bytes_per_source_token, 3),
        }

    @property
    def warnings(self) -> list[str]:
        """Whether the text may be of another language than the one that the model moves to, or is changed."""
        found = []
        if self.held_out.altered:
            found.append(
                f"text: {self.held_out.altered} of its {self.documents} lines do not come back from the new tokenizer "
                "as they were: what it loses costs no bits, and flatters every method alike"
            )
        if self.bytes_per_token > self.bytes_per_source_token:
            return found
        return [
            *found,
            f"text: a token of the new tokenizer covers {self.bytes_per_token:.2f} bytes of it, one of the source's "
            f"own {self.bytes_per_source_token:.2f}: if it is not in the language that the model moves to, the choice "
            "of the method is made for the wrong one",
        ]


def read_sample(files: Sequence[str | Path], *, seed: int) -> Sample:
    """Reads the text.

    Args:
        files: UTF-8, a document a line; of each the first 4 MiB.
        seed: of which lines are measured on.

    Raises:
        InputError: the files are not a list, or one cannot be read, is not UTF-8 or holds no text.
    """
    found = read_documents(files, seed=seed, training_bytes=_TRAINING_BYTES)
    return Sample(tuple(map(str, files)), found.held_out, found.training)


def _bytes_per_token(stream: TokenStream) -> float:
    return stream.bytes / int(stream.counted.sum())
