"""The markers of a chat: the added tokens by which the source's model knows who speaks and which tool is called."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import AddedToken
    from transformers import PreTrainedTokenizerBase

_BAR_TAG = re.compile(r"<\|.+\|>", re.DOTALL)
# A template holds line breaks and words too; of the added tokens that it writes only those in brackets are markers.
_BRACKETED = re.compile(r"[<\[{(|].*\w.*[>\]})|]", re.DOTALL)
# Places that the source's makers kept free: never trained, so their rows say nothing.
_FILLER = re.compile(r"unused|reserved|dummy|placeholder", re.IGNORECASE)
# Why a special token of the source is left out.
KEPT_FREE = "their places were kept free"
NOT_WANTED = "none is to be added"
NOT_TRAINED = "their rows were never trained"


def template_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """All chat templates of a tokenizer, one after the other; empty where it has none."""
    template: Any = tokenizer.chat_template
    return "\n".join(map(str, template.values())) if isinstance(template, dict) else str(template or "")


def is_filler(content: str) -> bool:
    """Whether a token is a place that the source's makers kept free, such as `<|reserved_special_token_12|>`."""
    return _BRACKETED.fullmatch(content) is not None and _FILLER.search(content) is not None


def marker_ids(added: Mapping[int, AddedToken], template: str) -> list[int]:
    """Ids of the added tokens that are markers, ascending.

    Markers are special, of the form `<|...|>`, or bracketed and written literally in the chat template. Fillers are
    markers only where the template names them.

    Args:
        added: the added tokens of the source by id.
        template: the text of its chat templates.
    """
    return [number for number, token in sorted(added.items()) if _is_marker(token, template)]


def kept_markers(
    added: Mapping[int, AddedToken],
    template: str,
    *,
    keep: bool | None,
    trained: Collection[int] | None,
    used: Collection[int],
    unknown: int | None,
) -> list[int]:
    """Ids of the added tokens that the new tokenizer shall have, ascending.

    Args:
        added: see `marker_ids`.
        template: likewise.
        keep: what the user says: True for all markers, False for none; None for all where there is a template, else for
            those that were trained.
        trained: ids of trained tokens.
        used: ids that configurations name; these are kept unless `keep` is False, fillers among them.
        unknown: the unknown token's id, which means nothing to another algorithm.
    """
    if keep is False:
        return []
    found = set(marker_ids(added, template))
    if keep is None and not template:
        found &= set(trained or ()) - {unknown}
    return sorted(found | {number for number in set(used) - {unknown} if number in added and _is_apart(added[number])})


def left_out(
    added: Mapping[int, AddedToken], partners: Collection[int], *, keep: bool | None, unknown: int | None
) -> dict[str, tuple[int, ...]]:
    """Ids of the special tokens that have no twin in the new tokenizer, by the reason for it.

    Args:
        added: the added tokens of the source by id.
        partners: source ids that have one.
        keep: what the user said of markers.
        unknown: the unknown token's id, which nobody misses.
    """
    found: dict[str, list[int]] = {}
    for number, token in sorted(added.items()):
        if number in partners or number == unknown or not _is_apart(token):
            continue
        reason = KEPT_FREE if is_filler(token.content) else NOT_WANTED if keep is False else NOT_TRAINED
        found.setdefault(reason, []).append(number)
    return {reason: tuple(ids) for reason, ids in found.items()}


def _is_apart(token: AddedToken) -> bool:
    return token.special or _BAR_TAG.fullmatch(token.content) is not None


def _is_marker(token: AddedToken, template: str) -> bool:
    content = token.content
    written = _BRACKETED.fullmatch(content) is not None and content in template
    if _FILLER.search(content):
        return written
    return written or _is_apart(token)
