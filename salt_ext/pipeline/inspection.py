"""What can be known of a transfer before paying for it: from configurations, headers, tokenizers and a few rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from salt_ext.files.text_lines import read_lines
from salt_ext.pair.pair import Pair, PairOptions, match_pair, open_pair
from salt_ext.pair.warnings import warnings_of
from salt_ext.vocab import Anchors, Level, anchor_coverage, bytes_per_token

# A text is a sample: more of it would change the second digit after the point.
_TEXT_BYTES = 2 << 20


@dataclass(frozen=True)
class Inspection:
    """Facts of a pair of models.

    Attributes:
        pair: the two models.
        anchors: the tokens that they share.
        texts: for each text file its name, bytes per token of the source's tokenizer and of the new one, and the share
            of the new one's tokens that are anchors.
        warnings: sentences for the user.
    """

    pair: Pair
    anchors: Anchors
    texts: list[tuple[str, float, float, float]]
    warnings: list[str]


def inspect(
    source: str | Path,
    donor: str | Path,
    *,
    texts: Sequence[Path] = (),
    match: Level = "exact",
    options: PairOptions | None = None,
) -> Inspection:
    """Compares the vocabularies of a source and a donor.

    Of the weights, only a few rows of the source's input table are read, and only where no chat template tells which of
    its special tokens were trained.

    Args:
        source: folder or hub name.
        donor: a model or a tokenizer alone, see `salt_ext.transfer`.
        texts: UTF-8 files in the target language; the first 2 MiB of each are measured.
        match: how wide anchors are matched, see `match_vocabularies`.
        options: what else the user says about the models and the new tokenizer.

    Raises:
        InputError: see `open_pair`; or a text cannot be read.
    """
    contents = {str(file): read_lines(file, max_bytes=_TEXT_BYTES) for file in texts}
    pair = open_pair(source, donor, options)
    anchors = match_pair(pair, level=match)
    measured = [
        (
            name,
            bytes_per_token(pair.source.tokenizer, lines),
            bytes_per_token(pair.target.tokenizer, lines),
            anchor_coverage(pair.target.tokenizer, lines, anchors),
        )
        for name, lines in contents.items()
    ]
    warnings = dict.fromkeys(warnings_of(pair, anchors, texts=contents))
    return Inspection(pair, anchors, measured, list(warnings))
