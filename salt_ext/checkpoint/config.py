"""The JSON beside the weights: a new vocabulary size and new token ids, every other key as it was."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

TokenIds = Mapping[str, "int | list[int] | None"]

# Multimodal configurations keep what concerns the language model in a part of its own.
_TEXT_PARTS = ("text_config", "llm_config", "language_config")


def updated_config(config: Mapping[str, Any], *, rows: int, ids: TokenIds) -> dict[str, Any]:
    """A model configuration for the new vocabulary.

    Args:
        config: config.json of the source.
        rows: rows of the new tables, padding rows included; becomes vocab_size wherever the source has one.
        ids: token ids by role ("bos", "eos", "pad") or by full key ("decoder_start_token_id"). None sets a key that
            exists to null and makes no new one.

    Returns:
        A copy; the keys that are not named above, `dtype` among them, are untouched.
    """
    updated = copy.deepcopy(dict(config))
    texts = [updated[part] for part in _TEXT_PARTS if isinstance(updated.get(part), dict)]
    for part in texts or [updated]:
        part["vocab_size"] = rows
        _set_ids(part, ids)
    if texts:
        if "vocab_size" in updated:
            updated["vocab_size"] = rows
        _set_ids(updated, {role: value for role, value in ids.items() if _key(role) in updated})
    return updated


def updated_generation_config(generation_config: Mapping[str, Any] | None, *, ids: TokenIds) -> dict[str, Any] | None:
    """A generation configuration for the new vocabulary.

    Args:
        generation_config: generation_config.json of the source, None where it has none.
        ids: as for `updated_config`.

    Returns:
        A copy with the new ids; None where the source has none, since generation then takes the ids of config.json.
    """
    if generation_config is None:
        return None
    updated = copy.deepcopy(dict(generation_config))
    _set_ids(updated, ids)
    return updated


def config_rows(config: Mapping[str, Any]) -> int:
    """The vocab_size that a configuration made by `updated_config` states for the tables."""
    for part in _TEXT_PARTS:
        if isinstance(config.get(part), dict):
            return int(config[part]["vocab_size"])
    return int(config["vocab_size"])


def _key(role: str) -> str:
    return role if role.endswith(("_id", "_ids", "_tokens", "_index")) else f"{role}_token_id"


def _set_ids(part: dict[str, Any], ids: TokenIds) -> None:
    for role, value in ids.items():
        key = _key(role)
        if value is not None or key in part:
            part[key] = value
