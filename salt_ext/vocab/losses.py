"""What a tokenizer loses: text that does not come back as it was when it is encoded and decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from salt_ext.vocab.rust import rust_errors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PROBES = {
    "capital letters": ("Ein Haus", "EINE"),
    "accents": ("\u00e4", "\u00e9", "\u00f6"),
    "line breaks": ("a\nb",),
    "tabs": ("a\tb",),
    "repeated spaces": ("a  b",),
    "the spaces beside punctuation": ("(a)", "a-b", "a , b"),
}


class Changed(NamedTuple):
    """How many lines of a text come back changed, and the first of them before and after."""

    lines: int
    before: str
    after: str


def round_trip(tokenizer: PreTrainedTokenizerBase, text_lines: Sequence[str]) -> list[str]:
    """Every line encoded without special tokens and decoded without them."""
    with rust_errors(tokenizer):
        encoded: Any = tokenizer(
            list(text_lines), add_special_tokens=False, truncation=False, padding=False, verbose=False
        )["input_ids"]
        return [str(tokenizer.decode(ids, skip_special_tokens=True)) for ids in encoded]


def lost_features(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """What every text loses, in words such as "capital letters"; empty for a tokenizer that keeps all of it."""
    return [name for name, probes in _PROBES.items() if _changed(probes, round_trip(tokenizer, probes))]


def changed_lines(tokenizer: PreTrainedTokenizerBase, text_lines: Sequence[str]) -> Changed | None:
    """Which lines of a text come back changed; None where all come back as they were."""
    found = _changed(text_lines, round_trip(tokenizer, text_lines) if text_lines else [])
    return Changed(len(found), *found[0]) if found else None


def _changed(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, str]]:
    # A space that some tokenizers put before every text is no loss.
    pairs = zip(before, after, strict=True)
    return [(old, new) for old, new in pairs if new.removeprefix(" ") != old.removeprefix(" ")]
