"""Small made-up things that tests of several folders need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from transformers import LlamaConfig

from salt_ext.vocab import Anchors, Form, Vocabulary


def words(size: int) -> list[str | Form | None]:
    """Tokens that begin a word, each of its own."""
    return [f" t{number}" for number in range(size)]


def make_vocabulary(
    written: Iterable[str | Form | None],
    *,
    name: str = "made up",
    tokens: list[str] | None = None,
    roles: dict[str, int] | None = None,
    byte_ids: Iterable[int] = (),
) -> Vocabulary:
    """A token for each text, with a space before it where it begins a word; `<...>` is special, None is a hole.

    What is given as a form has no spelling of its own but that in `tokens`.
    """
    entries = list(written)
    special = frozenset(n for n, entry in enumerate(entries) if isinstance(entry, str) and entry.startswith("<"))
    texts = {n: entry for n, entry in enumerate(entries) if isinstance(entry, str)}
    given = {n: entry for n, entry in enumerate(entries) if isinstance(entry, Form)}
    forms = given | {n: Form.of(text.encode()) for n, text in texts.items() if n not in special}
    spelt = {n: f"t{n}" for n in given} | texts
    ids = range(len(entries))
    return Vocabulary(
        name=name,
        kind="made up",
        size=len(entries),
        tokens=list(tokens or map(spelt.get, ids)),
        forms=[forms.get(n) for n in ids],
        roles=roles or {},
        special_ids=special,
        byte_ids=frozenset(byte_ids),
    )


def make_anchors(pairs: Mapping[int, int | tuple[int, str]]) -> Anchors:
    """Target id -> source id, or (source id, kind) where the kind is not "exact"."""
    found = [(new, *(old if isinstance(old, tuple) else (old, "exact"))) for new, old in sorted(pairs.items())]
    return Anchors(
        source_ids=np.array([old for _, old, _ in found], dtype=np.int64),
        target_ids=np.array([new for new, _, _ in found], dtype=np.int64),
        kinds=np.array([kind for _, _, kind in found], dtype=np.str_),
        collisions={},
    )


def small_llama(rows: int, **changes: Any) -> LlamaConfig:
    """One narrow layer; `changes` by the configuration's own names."""
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaConfig(**{"vocab_size": rows, **size, **changes})
