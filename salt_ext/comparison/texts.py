"""The texts of a comparison: what is measured on, and what is adapted on, without a line in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salt_ext.errors import InputError
from salt_ext.evaluation.token_stream import TokenStream, token_stream
from salt_ext.files.text_lines import read_lines
from salt_ext.pair.pair import Pair

# A token of most texts is shorter.
_BYTES_PER_TOKEN = 8


@dataclass(frozen=True)
class Encoded:
    """The texts as tokens, each encoded once for all methods.

    Attributes:
        held_out: by the new tokenizer.
        held_out_of_source: the same text by the source's own.
        training: by the new tokenizer; None without an adaptation.
        warnings: sentences for the user.
    """

    held_out: TokenStream
    held_out_of_source: TokenStream
    training: TokenStream | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Texts:
    """Lines, none of them empty.

    Attributes:
        held_out: to measure on.
        training: to adapt on.
        files: of `held_out`.
        training_files: of `training`.
        overlap: lines of the training files that were left out, being in `held_out`.
        adapt: tokens that the adaptation wants; 0 for none.
    """

    held_out: list[str]
    training: list[str]
    files: list[str]
    training_files: list[str]
    overlap: int
    adapt: int

    @property
    def facts(self) -> dict[str, Any]:
        """For the record of the comparison."""
        return {"files": self.files, "lines": len(self.held_out)}

    def encode(self, pair: Pair, *, context: int) -> Encoded:
        """Encodes the texts.

        Args:
            pair: whose tokenizers do it.
            context: tokens that the model reads at once.

        Raises:
            InputError: a text does not fill one such window.
        """
        tokenizer = pair.target.tokenizer
        held_out = _stream(tokenizer, self.held_out, "text", context)
        training = _stream(tokenizer, self.training, "adapt_text", context) if self.adapt else None
        warnings = []
        if held_out.altered:
            warnings.append(
                f"the new tokenizer changes {held_out.altered} of {len(self.held_out)} lines of the text: bits per "
                "byte of all methods are too good"
            )
        if training is not None and len(training.ids) < self.adapt:
            warnings.append(
                f"adapt_text has {len(training.ids)} tokens, fewer than the {self.adapt} of the adaptation, which "
                "reads it more than once"
            )
        own = token_stream(pair.source.tokenizer, self.held_out)
        return Encoded(held_out, own, training, tuple(warnings))


def read_texts(text: Sequence[str | Path], adapt_text: Sequence[str | Path], *, max_bytes: int, adapt: int) -> Texts:
    """Reads the files; see `salt_ext.compare`.

    Raises:
        InputError: no text is named, a file cannot be read, is not UTF-8 or holds no text, or nothing is left to adapt
            on.
    """
    if isinstance(text, str | Path) or isinstance(adapt_text, str | Path):
        raise InputError("text and adapt_text are lists of files, found a single one")
    if not text:
        raise InputError("text is empty, expected at least one file to measure on")
    held_out = [line for file in text for line in read_lines(Path(file), max_bytes=max_bytes) if line.strip()]
    limit = _BYTES_PER_TOKEN * adapt
    training = [line for file in adapt_text for line in read_lines(Path(file), max_bytes=limit) if line.strip()]
    known = set(held_out)
    kept = [line for line in training if line not in known]
    if training and not kept:
        raise InputError("adapt_text holds no line that text does not hold too, expected another text")
    return Texts(held_out, kept, [str(f) for f in text], [str(f) for f in adapt_text], len(training) - len(kept), adapt)


def _stream(tokenizer: Any, lines: list[str], name: str, context: int) -> TokenStream:
    stream = token_stream(tokenizer, lines)
    if len(stream.ids) <= context:
        raise InputError(f"{name} has {len(stream.ids)} tokens, expected more than one window of {context}")
    return stream
