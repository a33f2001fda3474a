"""The user's own pairs of tokens, which go before every pair that is found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salt_ext.errors import InputError, brief
from salt_ext.files.json_text import read_json
from salt_ext.files.paths import expanded, require_regular
from salt_ext.vocab import Vocabulary
from salt_ext.vocab.vocabulary import written_id

TokenMap = Mapping[str, str | None]


def load_token_map(path: str | Path) -> dict[str, str | None]:
    """Read a token map: a JSON object of target tokens and the source tokens whose rows they get.

    Each token is its spelling in its own tokenizer's alphabet, or `#` and its id; null as the source token says that
    the target token has no partner.

    Raises:
        InputError: the file cannot be read, or is not such an object.
    """
    file = expanded(path)
    require_regular(file, "token map")
    try:
        found = read_json(file.read_bytes(), object_pairs_hook=_unique)
    except OSError as error:
        raise InputError(f"token map {file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"token map {file} is not JSON: {brief(error)}") from None
    if not isinstance(found, dict):
        raise InputError(f"token map {file}: found {type(found).__name__}, expected an object of target: source tokens")
    return _checked(found, f"token map {file}")


def resolve_token_map(
    token_map: TokenMap, source: Vocabulary, target: Vocabulary, *, adds: str = ""
) -> dict[int, int | None]:
    """Target id -> source id, or None for a target token that has no partner.

    Args:
        token_map: the user's pairs.
        source: the source's vocabulary.
        target: the new tokenizer's; its ids are those that `#` speaks of.
        adds: what to say of a target token that is not there.

    Raises:
        InputError: an entry names a token that its vocabulary lacks, or a target token comes twice.
    """
    pairs: dict[int, int | None] = {}
    for new, old in _checked(token_map, "token map").items():
        entry = f"token map, entry {json.dumps({new: old}, ensure_ascii=False):.200}"
        number = _find(new, target, f"{entry}: target token", adds)
        if number in pairs:
            raise InputError(f"{entry}: the target token {target.tokens[number]!r} (#{number}) comes twice")
        pairs[number] = None if old is None else _find(old, source, f"{entry}: source token")
    return pairs


def _checked(found: Mapping[Any, Any], what: str) -> dict[str, str | None]:
    checked: dict[str, str | None] = {}
    for new, old in found.items():
        if not isinstance(new, str) or not (old is None or isinstance(old, str)):
            raise InputError(
                f"{what}, entry {new!r:.80}: found {old!r:.80}, expected a source token, '#' and an id, or null"
            )
        checked[new] = old
    return checked


def _find(wanted: str, vocabulary: Vocabulary, what: str, hint: str = "") -> int:
    if wanted in vocabulary.tokens:
        return vocabulary.tokens.index(wanted)
    if wanted[:1] != "#" or not (wanted[1:].isascii() and wanted[1:].isdecimal()):
        why = f", and {hint}" if hint else ""
        raise InputError(f"{what} {wanted!r:.200} is not in the vocabulary of {vocabulary.name}{why}")
    number = written_id(wanted)
    if number is None or number >= vocabulary.size or vocabulary.tokens[number] is None:
        raise InputError(
            f"{what} {wanted:.40}: {vocabulary.name} has no such id, expected #0 to #{vocabulary.size - 1}"
        )
    return number


def _unique(entries: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in entries]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise ValueError(f"the entry {twice!r:.80} comes twice")
    return dict(entries)
