"""Special tokens of the source that the new tokenizer does not have, and why: no token is dropped without a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from salt_ext.display.listing import listed
from salt_ext.display.printing import quoted

if TYPE_CHECKING:
    from salt_ext.pair.pair import Pair

LeftOut = dict[str, list[tuple[int, str]]]

_NO_ROW = "the model has no row for them"
# Of a family with hundreds of places that were kept free, the first few tell what they are.
_SHOWN = 12


def left_out_of(pair: Pair) -> LeftOut:
    """Reason -> (source id, spelling) of every special token of the source that the new tokenizer lacks."""
    source, target = pair.source, pair.target
    found = {_NO_ROW: [(number, token) for number, token in source.rowless.items()]} if source.rowless else {}
    return found | {
        reason: [(number, str(source.vocabulary.tokens[number])) for number in ids]
        for reason, ids in target.left_out.items()
    }


def left_out_sentences(left_out: Mapping[str, Sequence[Sequence[int | str]]]) -> list[str]:
    """One for each reason, with the first few tokens; all are in the report."""
    return [
        f"special tokens of the source left out, since {reason}: "
        + listed([quoted(str(token)) for _, token in tokens], _SHOWN)
        for reason, tokens in left_out.items()
    ]
