"""The target's tokenizer as it is, for a model that has to have another's vocabulary: a draft model for speculation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from salt_ext.tokenizer.template import SpecialTemplate
from salt_ext.vocab import Vocabulary
from salt_ext.vocab.roles import ROLES, STAND_INS


def partners_by_role(source: Vocabulary, target: Vocabulary) -> dict[int, str]:
    """Source id -> the spelling of its partner, for the special tokens of the source that the target has one for.

    The role goes before the spelling: what ends a text in the target is the partner of what ends one in the source.
    """
    partners: dict[int, str] = {}

    def take(old: int, numbers: Iterable[int]) -> None:
        spelt = (str(target.tokens[number]) for number in numbers)
        free = next((token for token in spelt if token not in partners.values()), None)
        if old not in partners and free is not None:
            partners[old] = free

    for played in (lambda role: role, lambda role: STAND_INS.get(role, "")):
        for role in ROLES:
            if role in source.roles and played(role) in target.roles:
                take(source.roles[role], [target.roles[played(role)]])
    special = {target.tokens[number]: number for number in sorted(target.special_ids)}
    for old in sorted(source.special_ids):
        take(old, [special[source.tokens[old]]] if source.tokens[old] in special else [])
    return partners


def special_template_warning(
    frame: SpecialTemplate, own: SpecialTemplate, partners: Mapping[int, str], source: Vocabulary, target: Vocabulary
) -> str | None:
    """What to say where the target puts other tokens around a text than the source was trained with, else None.

    Args:
        frame: the source's.
        own: the target's, which stays.
        partners: source id -> the spelling of its partner in the target.
        source: the source's vocabulary.
        target: the target's vocabulary.
    """
    theirs = {number: str(token) for number, token in enumerate(target.tokens)}
    if _written(frame, partners) == _written(own, theirs):
        return None
    before = {number: str(token) for number, token in enumerate(source.tokens)}
    return (
        f"the new tokenizer is the donor's as it is: it writes {' '.join(_written(own, theirs))}, where the source was "
        f"trained with {' '.join(_written(frame, before))}"
    )


def _written(frame: SpecialTemplate, spelt: Mapping[int, str]) -> list[str]:
    return ["TEXT" if isinstance(part.content, str) else repr(spelt.get(part.content)) for part in frame.single]
