"""Recognise how a tokenizer spells its pieces, from its own definition and never from the look of its vocabulary."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tokenizers import Tokenizer

from salt_ext.errors import InputError, brief
from salt_ext.vocab.forms import Spelling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What the clean-up of the WordPiece decoder joins to the word before (it works piece by piece).
_CLEANED_UP = (".", "?", "!", ",", "n't", "'m", "'s", "'ve", "'re")
_NESTED = ("decoders", "pretokenizers", "normalizers")
# These act on the whole text, or only glue pieces together: what a piece stands for is untouched.
_POSITIONAL = ("Fuse", "Strip")


def backend_of(tokenizer: PreTrainedTokenizerBase, name: str) -> Tokenizer:
    """The tokenizer of the `tokenizers` library behind a transformers tokenizer.

    Raises:
        InputError: there is none, it is a slow tokenizer.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        kind = type(tokenizer).__name__
        raise InputError(f"tokenizer of {name}: {kind} is a slow tokenizer; expected a fast one (tokenizer.json)")
    return backend


def spelling_of(backend: Tokenizer, name: str) -> Spelling:
    """How the tokenizer's pieces spell bytes and word beginnings.

    Args:
        backend: the tokenizer of the `tokenizers` library.
        name: what to call it in an error.

    Raises:
        InputError: the definition has a decoder step that is not known, or no sign of how it writes spaces.
    """
    model = type(backend.model).__name__
    decoders = _steps(backend.decoder, name) or _implied_decoders(backend, name)
    prefix = getattr(backend.model, "continuing_subword_prefix", None) or ""
    suffix = getattr(backend.model, "end_of_word_suffix", None) or ""
    byte_alphabet, byte_fallback = False, bool(getattr(backend.model, "byte_fallback", False))
    replacements: list[tuple[str, str]] = []
    attached: tuple[str, ...] = ()
    for step in decoders:
        match step["type"]:
            case "ByteLevel":
                byte_alphabet = True
            case "ByteFallback":
                byte_fallback = True
            case "Metaspace":
                replacements.append((step["replacement"], " "))
            case "Replace" if "String" in step["pattern"]:
                replacements.append((step["pattern"]["String"], step["content"]))
            case "WordPiece":
                prefix = step["prefix"]
                attached = _CLEANED_UP if step["cleanup"] else ()
            case "BPEDecoder":
                suffix = step["suffix"]
            case kind if kind not in _POSITIONAL:
                raise InputError(
                    f"tokenizer of {name}: its decoder has a step {kind!r}, whose pieces are not understood"
                )
    marked = bool(byte_alphabet or replacements or prefix or suffix or model in ("WordPiece", "WordLevel"))
    if not marked and not decoders and backend.pre_tokenizer is not None:
        raise InputError(
            f"tokenizer of {name}: a {model} model without a decoder does not tell where a word begins; "
            "expected ByteLevel, Metaspace, WordPiece or another marker of spaces"
        )
    return Spelling(
        kind=_kind(model, byte_alphabet, bool(replacements), prefix, suffix),
        byte_alphabet=byte_alphabet,
        byte_fallback=byte_fallback and not byte_alphabet,
        replacements=tuple(replacements),
        unmarked_begins_word=model in ("WordPiece", "WordLevel") or bool(prefix),
        continuing_prefix=prefix,
        attached=attached,
        word_suffix=suffix,
    )


def _steps(component: Any, name: str) -> list[dict[str, Any]]:
    """The component's steps in order, sequences flattened; the component's pickled state is its JSON definition."""
    if component is None:
        return []
    try:
        definition: dict[str, Any] = json.loads(component.__getstate__())
    except Exception as error:  # the Rust binding raises a bare Exception for a component written in Python
        raise InputError(
            f"tokenizer of {name}: its {type(component).__name__} step has no definition: {brief(error)}"
        ) from error
    return _flatten(definition)


def _flatten(definition: dict[str, Any]) -> list[dict[str, Any]]:
    for key in _NESTED:
        if key in definition:
            return [step for inner in definition[key] for step in _flatten(inner)]
    return [definition]


def _implied_decoders(backend: Tokenizer, name: str) -> list[dict[str, Any]]:
    """The decoder that undoes what normalizer and pre-tokenizer do to spaces, for a tokenizer saved without one."""
    implied: list[dict[str, Any]] = []
    for step in _steps(backend.normalizer, name) + _steps(backend.pre_tokenizer, name):
        if step["type"] in ("ByteLevel", "Metaspace"):
            implied.append(step)
        elif step["type"] == "Replace" and step["pattern"].get("String") == " " and step["content"].strip():
            implied.append({"type": "Replace", "pattern": {"String": step["content"]}, "content": " "})
    return implied


def _kind(model: str, byte_alphabet: bool, replaced: bool, prefix: str, suffix: str) -> str:
    if model in ("WordPiece", "WordLevel"):
        return model
    if byte_alphabet:
        return f"byte-level {model}"
    if replaced:
        return f"SentencePiece {model}"
    if prefix or suffix:
        return f"{model} with {prefix or suffix!r}"
    return model
