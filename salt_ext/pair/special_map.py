"""Which token of the source each special token of the new tokenizer gets its row from."""

from __future__ import annotations

from typing import Any

from salt_ext.pair.pair import Pair
from salt_ext.vocab import Anchors


def special_map(pair: Pair, anchors: Anchors) -> list[dict[str, Any]]:
    """The new tokenizer's special tokens and markers, and every token that the user's map names, ascending.

    For each its roles, id, spelling, the source token whose row it gets (None: the mean row, or for an ordinary token
    one that the method makes), whether it was added, and whether the user's map says so.
    """
    source, target = pair.source.vocabulary, pair.target.vocabulary
    partners = dict(zip(anchors.target_ids.tolist(), anchors.source_ids.tolist(), strict=True))
    shown = {*target.special_ids, *target.roles.values(), *pair.target.pairs, *pair.target.mapped}
    names: dict[int, list[str]] = {number: [] for number in sorted(shown)}
    for role, number in target.roles.items():
        names[number].append(role)
    return [
        {
            "roles": sorted(roles),
            "target_id": number,
            "target": target.tokens[number],
            "source_id": partners.get(number),
            "source": source.tokens[partners[number]] if number in partners else None,
            "added": number in pair.target.added,
            "mapped": number in pair.target.mapped,
        }
        for number, roles in names.items()
    ]
