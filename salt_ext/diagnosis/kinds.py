"""What sort of token one is, for a person: script and place in a word, digits, punctuation, white space."""

from __future__ import annotations

import unicodedata

from salt_ext.vocab import Vocabulary

SPECIAL, BYTES, SPACE, DIGITS, SIGNS = "special", "bytes", "white space", "digits", "punctuation and signs"
# Words of Unicode's names of letters that are no script's name of their own.
_SCRIPTS = {"Cjk": "Chinese characters", "Modifier": "other letters", "Fullwidth": "Latin", "Halfwidth": "Katakana"}


def kind_of(vocabulary: Vocabulary, number: int) -> str:
    """The kind of a token: of letters the first one's script, "Latin, begins a word" or "Latin, inside a word"."""
    form = vocabulary.forms[number]
    if form is None:
        return SPECIAL
    try:
        text = form.data.decode("utf-8")
    except UnicodeDecodeError:
        return BYTES
    if number in vocabulary.byte_ids:
        return BYTES
    letter = next((letter for letter in text if letter.isalpha()), None)
    if letter is not None:
        return f"{_script(letter)}, {'begins a word' if form.begins_word else 'inside a word'}"
    if any(letter.isdigit() for letter in text):
        return DIGITS
    visible = any(not letter.isspace() and unicodedata.category(letter) != "Cc" for letter in text)
    return SIGNS if visible else SPACE


def _script(letter: str) -> str:
    """The first word of the letter's name in Unicode, which is its script's for nearly all."""
    first = unicodedata.name(letter, "other letters").split()[0].capitalize()
    return _SCRIPTS.get(first, first)
