"""How much longer a tokenizer's own rules may make a text: a file of a kilobyte can ask for all memory there is.

Rules run one after the other, so that forty of them, each of which doubles a letter, make a terabyte of it. The bound
is over all texts and from the definition alone: nothing is run before it holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from salt_ext.errors import InputError

# Letters that one letter may become. Of real tokenizers none comes near: NFKC and a byte alphabet make at most 72.
_MOST = 1_000
_NESTED = ("decoders", "pretokenizers", "normalizers")
_PART = re.compile(r'"(normalizer|pre_tokenizer|decoder)"\s*:\s*(?=\{)')
# The longest that compatibility decomposition makes of one letter (U+FDFA); what is decomposed stays as it is.
_DECOMPOSED = 18.0
_DECOMPOSING = ("NFD", "NFKD", "NFKC", "NFC", "Nmt")


def check_growth(parts: Mapping[str, Any], name: str) -> None:
    """Checks the rules of a tokenizer.

    Args:
        parts: "normalizer", "pre_tokenizer" and "decoder" as tokenizer.json defines them; any may be missing or null.
        name: the tokenizer, for the message.

    Raises:
        InputError: a letter may become more than a thousand.
    """
    read = [*_steps(parts.get("normalizer")), *_steps(parts.get("pre_tokenizer"))]
    for what, steps in (("normalizer and pre-tokenizer", read), ("decoder", [*_steps(parts.get("decoder"))])):
        growth, decomposed = 1.0, False
        for step in steps:
            if step.get("type") in _DECOMPOSING:
                growth *= 1.0 if decomposed else _DECOMPOSED
                decomposed = True
            elif not (what == "decoder" and step.get("type") == "ByteLevel"):  # it turns the alphabet back
                growth *= _growth(step)
            if growth > _MOST:
                raise InputError(
                    f"tokenizer of {name}: its {what} may make more than {_MOST:,} letters of one, step by step"
                )


def parts_of(definition: str) -> dict[str, Any]:
    """The parts that `check_growth` asks for, from the text of a tokenizer.json, whose vocabulary is not parsed.

    Raises:
        ValueError: a part is not JSON.
    """
    decoder = json.JSONDecoder()
    found: dict[str, list[Any]] = {}
    for match in _PART.finditer(definition):
        found.setdefault(match[1], []).append(decoder.raw_decode(definition, match.end())[0])
    # One each in a healthy file; what has the name elsewhere must not hide it.
    return {name: {"decoders": parts} for name, parts in found.items()}


def _steps(part: Any) -> Iterator[dict[str, Any]]:
    """The steps in order, sequences flattened; what is none is the library's to refuse."""
    pending = [part]
    while pending:
        step = pending.pop()
        if not isinstance(step, dict):
            continue
        inner = next((step[key] for key in _NESTED if isinstance(step.get(key), list)), None)
        if inner is None:
            yield step
        else:
            pending += reversed(inner)


def _growth(step: dict[str, Any]) -> float:
    match step.get("type"):
        case "Replace":
            return _replacing(step.get("pattern"), step.get("content"))
        case "ByteLevel":
            return 4.0
        case "Precompiled":
            return _DECOMPOSED
        case _:
            return 1.0


def _replacing(pattern: Any, content: Any) -> float:
    written = len(content) if isinstance(content, str) else 0
    if not isinstance(pattern, dict):
        return 1.0
    literal = pattern.get("String")
    if isinstance(literal, str) and literal:
        return max(1.0, written / len(literal))
    return 1.0 + written if literal == "" or _matches_nothing(pattern.get("Regex")) else max(1.0, float(written))


def _matches_nothing(expression: Any) -> bool:
    """Whether it matches between two letters, so that it adds to them; unknown where Python cannot read it."""
    try:
        found = re.compile(str(expression))
        return any(found.search(text) is not None and found.sub("", text) == text for text in ("", "a b", "A1.\n"))
    except (re.error, RecursionError, OverflowError):
        return False
