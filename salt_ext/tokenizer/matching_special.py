"""Which token of the target stands for each special token of the source."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from salt_ext.vocab import Vocabulary
from salt_ext.vocab.roles import ROLES, STAND_INS

# What the target's algorithm writes by itself for text that it does not know; no choice of the source's.
_UNKNOWN = "unk"
# Roles that a model cannot do without where the source has them.
_NEEDED = frozenset({"bos", "eos", "pad"})


def match_special_tokens(
    source: Vocabulary, target: Vocabulary, *, markers: Collection[int], template: str, frame: Collection[int]
) -> dict[int, str]:
    """Source id -> the spelling of its partner; a spelling that the target lacks is to be added.

    One token of the source has one twin, whatever its roles, and no two have the same: rows that are equal would
    compete, and a model that begins and ends a text by one token must find one token there.

    Args:
        source: the source's vocabulary.
        target: the target's own vocabulary.
        markers: source ids to keep.
        template: text of the source's chat templates; a marker that it writes literally keeps its spelling.
        frame: source ids that are put around every text; they are needed.
    """
    played: dict[int, list[str]] = {}
    for role in ROLES:
        if role != _UNKNOWN and role in source.roles:
            played.setdefault(source.roles[role], []).append(role)
    special = {target.tokens[number]: number for number in sorted(target.special_ids)}
    partners: dict[int, str] = {}

    def take(old: int, spellings: Iterable[str | None]) -> None:
        taken = set(partners.values())
        free = (spelling for spelling in spellings if spelling is not None and spelling not in taken)
        if old not in partners and (spelling := next(free, None)) is not None:
            partners[old] = spelling

    for old in played:
        spelling = str(source.tokens[old])
        take(old, [spelling] if spelling in special or (old in markers and spelling in template) else [])
    for old, roles in played.items():
        needed = not _NEEDED.isdisjoint(roles) or old in frame
        take(old, [*_of_role(roles, target), source.tokens[old] if needed else None])
    if _UNKNOWN in source.roles and _UNKNOWN in target.roles:
        take(source.roles[_UNKNOWN], [target.tokens[target.roles[_UNKNOWN]]])
    for old in (*markers, *frame):
        take(old, [source.tokens[old]])
    for old in sorted(source.special_ids):
        take(old, [source.tokens[old] if source.tokens[old] in special else None])
    return partners


def _of_role(roles: list[str], target: Vocabulary) -> Iterator[str | None]:
    for role in (*roles, *(STAND_INS.get(role, "") for role in roles)):
        if role in target.roles:
            yield target.tokens[target.roles[role]]
