"""Where a tokenizer puts a space that the text does not have: before its beginning, and nowhere else.

Many tokenizers put one before every segment, so also between a marker of a chat and the text that follows it, where the
source's model has never seen one. The library knows no scheme "before the text, whatever it begins with"; a Metaspace
step whose mark is the space itself is one, where the normalizer has left no other space.
"""

from __future__ import annotations

import json
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE

Definition = dict[str, Any]

_NESTED = ("normalizers", "pretokenizers")
_SPACE = " "
_PROBE = "a"
# Beginnings that one rule treats as another does not.
_PROBES = ("a", " a", "  a b", "a  b ", "\na", "\t a", "▁a", "\u00a0a", "Ärger", "1 2", " ", "")


def writes_leading_space(backend: Tokenizer) -> bool:
    """Whether a text that begins with a letter is cut as if a space stood before it."""
    text = _PROBE if backend.normalizer is None else backend.normalizer.normalize_str(_PROBE)
    pieces = [(text, None)] if backend.pre_tokenizer is None else backend.pre_tokenizer.pre_tokenize_str(text)
    written = "".join(piece for piece, _ in pieces)
    return len(written) > len(_PROBE) and written.endswith(_PROBE)


def steps_of(component: Any) -> list[Definition]:
    """The definitions of a normalizer's or pre-tokenizer's steps in order, sequences flattened; none for None."""
    return [] if component is None else _flatten(json.loads(component.__getstate__()))


def space_once(backend: Tokenizer) -> None:
    """Changes a tokenizer so that it puts its space before the first segment of a text only.

    A text without special tokens is cut as before. A tokenizer that puts no space there stays as it is, and so does one
    that splits at white space before it marks words: what it writes there is no space of the text.

    Args:
        backend: has a decoder, which says how its pieces write a space; else it stays as it is.
    """
    before = backend.normalizer, backend.pre_tokenizer
    changed = None if backend.decoder is None else _changed(*map(steps_of, before))
    if changed is None:
        return
    # An added token may be looked for in the text as the normalizer has changed it.
    added = [token.content for token in backend.get_added_tokens_decoder().values() if token.normalized]
    probes = [*_PROBES, *(f"{before_it}{content}" for content in added for before_it in ("", "a", "a "))]
    cut = _ids(backend, probes)
    backend.normalizer, backend.pre_tokenizer = changed.normalizer, changed.pre_tokenizer
    if _ids(backend, probes) != cut:
        backend.normalizer, backend.pre_tokenizer = before


def _changed(normalizers: list[Definition], steps: list[Definition]) -> Tokenizer | None:
    """A tokenizer with the steps that do so; None where there is nothing to change."""
    first: Definition = steps[0] if steps else {"type": None}
    marks = [step["content"] for step in normalizers if _replaces_space(step)]
    everywhere = first["type"] == "Metaspace" and first["prepend_scheme"] == "always"
    kept = [step for step in normalizers if not any(_puts(step, mark, doubled=everywhere) for mark in marks)]
    before_the_text = _metaspace(_SPACE, "first", split=False)
    if len(kept) < len(normalizers):
        marked = _metaspace(marks[0], "never", split=everywhere and first["split"])
        return _with_steps(kept, [before_the_text, marked, *(steps[1:] if everywhere else steps)])
    if everywhere:
        return _with_steps(kept, [{**first, "prepend_scheme": "first"}, *steps[1:]])
    if first["type"] == "ByteLevel" and first["add_prefix_space"]:
        return _with_steps(kept, [before_the_text, {**first, "add_prefix_space": False}, *steps[1:]])
    return None


def _puts(step: Definition, mark: str, *, doubled: bool) -> bool:
    """Whether a normalizer's step puts a mark before every segment, whatever it begins with.

    Args:
        step: its definition.
        mark: what the normalizer writes for a space.
        doubled: whether the pre-tokenizer puts one too, unless the segment begins with one: then a step that doubles a
            mark at the beginning has the same effect.
    """
    if step["type"] == "Prepend":
        return bool(step["prepend"] == mark)
    begins = step["type"] == "Replace" and step["pattern"].get("Regex") in (rf"\A{mark}", f"^{mark}")
    return doubled and begins and bool(step["content"] == mark * 2)


def _replaces_space(step: Definition) -> bool:
    return step["type"] == "Replace" and step["pattern"].get("String") == _SPACE and len(step["content"]) == 1


def _metaspace(mark: str, scheme: str, *, split: bool) -> Definition:
    return {"type": "Metaspace", "replacement": mark, "prepend_scheme": scheme, "split": split}


def _flatten(definition: Definition) -> list[Definition]:
    for key in _NESTED:
        if key in definition:
            return [step for inner in definition[key] for step in _flatten(inner)]
    return [definition]


def _with_steps(normalizers: list[Definition], pre_tokenizers: list[Definition]) -> Tokenizer:
    """A tokenizer without a vocabulary."""
    empty = json.loads(Tokenizer(BPE()).to_str())
    empty["normalizer"] = {"type": "Sequence", "normalizers": normalizers} if normalizers else None
    empty["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": pre_tokenizers}
    return Tokenizer.from_str(json.dumps(empty))


def _ids(backend: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [backend.encode(text, add_special_tokens=False).ids for text in texts]
