"""Special tokens: the roles that they play, and which id plays which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# The order decides for a token with several roles: one that is bos, eos and pad at once is eos first, because what
# ends a text must go on ending it.
ROLES = ("eos", "bos", "unk", "pad", "cls", "sep", "mask")
# An encoder frames a text by cls and sep where a decoder has bos and eos.
STAND_INS = {"eos": "sep", "sep": "eos", "bos": "cls", "cls": "bos"}


def special_roles(tokenizer: PreTrainedTokenizerBase, ids: Mapping[str, int]) -> dict[str, int]:
    """Role -> id, for the roles that the tokenizer defines by a token which its vocabulary has.

    Args:
        tokenizer: its `bos_token` ... `mask_token` attributes are read.
        ids: spelling -> id.
    """
    spelt = {role: getattr(tokenizer, f"{role}_token", None) for role in ROLES}
    return {role: ids[str(token)] for role, token in spelt.items() if token is not None and str(token) in ids}
