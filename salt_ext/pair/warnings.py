"""What the user should know of a pair of models before relying on the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from salt_ext.checkpoint import reserved_rows
from salt_ext.pair.pair import Pair
from salt_ext.vocab import Anchors
from salt_ext.vocab.losses import changed_lines, lost_features

# Below this share of the target's vocabulary the regression has few tokens to stand on.
_FEW_ANCHORS = 0.05
# Characters of a changed line that a warning shows.
_SHOWN = 60


def warnings_of(pair: Pair, anchors: Anchors, *, texts: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """One sentence each.

    Args:
        pair: the two models.
        anchors: the tokens that they share.
        texts: lines of text by name; those that the new tokenizer changes are counted.
    """
    target = pair.target.vocabulary
    found = [*pair.source.checkpoint.companions().warnings, *pair.target.warnings]
    lost = lost_features(pair.target.tokenizer)
    if lost:
        kept = f"{', '.join(lost[:-1])} and {lost[-1]}" if len(lost) > 1 else lost[0]
        found.append(f"the new tokenizer ({target.kind}) loses {kept}: the new model can neither read nor write them")
    for name, lines in (texts or {}).items():
        changed = changed_lines(pair.target.tokenizer, lines)
        if changed is not None:
            before, after = _around_change(changed.before, changed.after)
            found.append(
                f"{changed.lines} of {len(lines)} lines of {name} do not come back from the new tokenizer as "
                f"they were: {before!r} comes back as {after!r}"
            )
    if elsewhere := _looked_up_elsewhere(pair, anchors):
        found.append(
            f"the source looks {', '.join(elsewhere)} up in tables of its other parts, which the new ids do not reach: "
            "they get the rows of the text's table"
        )
    plain = int((~np.isin(anchors.kinds, ("special", "mapped"))).sum())
    if plain < _FEW_ANCHORS * target.size:
        share = plain / target.size
        found.append(f"only {plain} of {target.size} target tokens ({share:.1%}) are anchors: the regression is weak")
    return found


def _looked_up_elsewhere(pair: Pair, anchors: Anchors) -> list[str]:
    """Spellings of the shared tokens whose source ids lie in the block that the model reserves, see `reserved_rows`."""
    checkpoint, tokens = pair.source.checkpoint, pair.source.vocabulary.tokens
    reserved = reserved_rows(checkpoint.config)
    return [repr(tokens[number]) for number in anchors.source_ids.tolist() if number >= checkpoint.rows - reserved]


def _around_change(before: str, after: str) -> tuple[str, str]:
    """Both texts from a little before their first difference."""
    same = next((n for n, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), len(after))
    begin = max(0, same - _SHOWN // 4)
    return before[begin : begin + _SHOWN], after[begin : begin + _SHOWN]
