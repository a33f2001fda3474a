"""The markers of a chat: the added tokens by which the source's model knows who speaks and which tool is called."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerBase

_BAR_TAG = re.compile(r"<\|.+\|>", re.DOTALL)
# A template holds line breaks and words too; of the added tokens that it writes only those in brackets are markers.
_BRACKETED = re.compile(r"[<\[{(|].*\w.*[>\]})|]", re.DOTALL)
# Places that the source's makers kept free: never trained, so their rows say nothing.
_FILLER = re.compile(r"unused|reserved|dummy|placeholder", re.IGNORECASE)


def template_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """All chat templates of a tokenizer, one after the other; empty where it has none."""
    template: Any = tokenizer.chat_template
    return "\n".join(map(str, template.values())) if isinstance(template, dict) else str(template or "")


def marker_ids(added: dict[int, AddedToken], template: str) -> list[int]:
    """Ids of the added tokens that are markers, ascending.

    Markers are special, of the form `<|...|>`, or bracketed and written literally in the chat template. Fillers are
    markers only where the template names them.

    Args:
        added: the added tokens of the source by id.
        template: the text of its chat templates.
    """
    return [number for number, token in sorted(added.items()) if _is_marker(token, template)]


def _is_marker(token: AddedToken, template: str) -> bool:
    content = token.content
    written = _BRACKETED.fullmatch(content) is not None and content in template
    if _FILLER.search(content):
        return written
    return token.special or written or _BAR_TAG.fullmatch(content) is not None
