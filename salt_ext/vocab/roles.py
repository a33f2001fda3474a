"""Special tokens: which ids they are, and which of two vocabularies play the same role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The order decides for a token with several roles: one that is bos, eos and pad at once is eos first, because what
# ends a text must go on ending it.
ROLES = ("eos", "bos", "unk", "pad", "cls", "sep", "mask")
# An encoder frames a text by cls and sep where a decoder has bos and eos.
_STAND_INS = {"eos": "sep", "sep": "eos", "bos": "cls", "cls": "bos"}


def special_roles(tokenizer: PreTrainedTokenizerBase, ids: Mapping[str, int]) -> dict[str, int]:
    """Role -> id, for the roles that the tokenizer defines by a token which its vocabulary has.

    Args:
        tokenizer: its `bos_token` ... `mask_token` attributes are read.
        ids: spelling -> id.
    """
    spelt = {role: getattr(tokenizer, f"{role}_token", None) for role in ROLES}
    return {role: ids[str(token)] for role, token in spelt.items() if token is not None and str(token) in ids}


def pair_roles(source: Mapping[str, int], target: Mapping[str, int]) -> dict[int, int]:
    """Target id -> source id of the special tokens that play the same role, each target id once.

    A role that the source lacks is played by its counterpart (bos by cls, eos by sep and the other way round). One
    source token may serve several target tokens, as GPT-2's only one does. Spelling plays no part.
    """
    pairs: dict[int, int] = {}
    for stand_in in (False, True):
        for role in ROLES:
            source_role = _STAND_INS.get(role, "") if stand_in else role
            if role in target and source_role in source:
                pairs.setdefault(target[role], source[source_role])
    return pairs
