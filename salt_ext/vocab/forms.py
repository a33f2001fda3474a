"""What a token *is*: the bytes it stands for, and whether it begins a word."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import NamedTuple

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


class Form(NamedTuple):
    """What a token adds to a text when it follows a word, whatever its tokenizer's spelling.

    The pair is a one-to-one image of those bytes: `begins_word` says that they start with a space, and `data` is what
    follows that one space. So a lone `Ġ` or `▁` is `(b"", True)`, two spaces are `(b" ", True)`, `Ġ\\n` is
    `(b"\\n", True)` and `\\n` is `(b"\\n", False)`: no two runs of whitespace collapse.

    Attributes:
        data: bytes, not necessarily valid UTF-8 (byte fallback and byte-level pieces may cut a character).
        begins_word: one space stands before `data`.
    """

    data: bytes
    begins_word: bool

    @classmethod
    def of(cls, written: bytes) -> Form:
        """The form of the bytes that a token adds to a running text."""
        return cls(written[1:], True) if written[:1] == b" " else cls(written, False)

    @property
    def written(self) -> bytes:
        """The bytes that the token adds to a running text, with the space that begins the word."""
        return b" " + self.data if self.begins_word else self.data

    @property
    def text(self) -> str | None:
        """Its text without outer whitespace, what an auxiliary vector is asked for.

        None where there is no text: empty, not UTF-8, or with control characters, for which a model of character
        n-grams would answer with noise.
        """
        try:
            text = self.data.decode("utf-8").strip()
        except UnicodeDecodeError:
            return None
        return None if any(unicodedata.category(letter) == "Cc" for letter in text) else text or None


def _byte_letters() -> dict[int, str]:
    """GPT-2's byte alphabet as a `str.translate` table: ord(letter) -> chr(byte)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    shifted = sorted(set(range(256)) - set(printable))
    return {byte: chr(byte) for byte in printable} | {256 + n: chr(byte) for n, byte in enumerate(shifted)}


_BYTE_OF_LETTER = _byte_letters()
_LETTER_OF_BYTE = {ord(byte): chr(letter) for letter, byte in _BYTE_OF_LETTER.items()}
_ALPHABET = frozenset(map(chr, _BYTE_OF_LETTER))


@dataclass(frozen=True)
class Spelling:
    """How one tokenizer spells forms as pieces; read from its definition by `families.spelling_of`.

    Attributes:
        kind: the family's name, for people.
        byte_alphabet: every letter of a piece stands for one byte (byte-level).
        byte_fallback: `<0xE4>` stands for the byte 0xE4.
        replacements: (written in the piece, meant), in the decoder's order; `("▁", " ")` for SentencePiece.
        unmarked_begins_word: a piece begins a word unless it has `continuing_prefix` (WordPiece, WordLevel).
        continuing_prefix: `##` of WordPiece; empty where there is none.
        attached: beginnings of pieces that the decoder's clean-up writes without the space of a new word.
        word_suffix: `</w>` of GPT-1 and CLIP, which stands for a space *after* the piece.
    """

    kind: str
    byte_alphabet: bool = False
    byte_fallback: bool = False
    replacements: tuple[tuple[str, str], ...] = ()
    unmarked_begins_word: bool = False
    continuing_prefix: str = ""
    attached: tuple[str, ...] = ()
    word_suffix: str = ""

    def is_byte_piece(self, piece: str) -> bool:
        """Whether the piece is a byte-fallback piece, `<0x00>` to `<0xFF>`."""
        return self.byte_fallback and piece.startswith("<0x") and _BYTE_PIECE.fullmatch(piece) is not None

    @staticmethod
    def spell_bytes(data: bytes) -> str:
        """The bytes in the letters of the byte alphabet."""
        return data.decode("latin-1").translate(_LETTER_OF_BYTE)

    def form(self, piece: str, *, added: bool = False) -> Form | None:
        """The form of a piece of the model's vocabulary, or of an added token, whose content is literal text.

        Returns:
            The form, or None for a piece that stands for nothing.
        """
        if not added and self.is_byte_piece(piece):
            return Form.of(bytes([int(piece[3:5], 16)]))
        space_after = b""
        if self.word_suffix and not added and piece.endswith(self.word_suffix):
            piece, space_after = piece[: -len(self.word_suffix)], b" "
        space_before = b""
        if self.continuing_prefix and piece.startswith(self.continuing_prefix):
            piece = piece[len(self.continuing_prefix) :]
        elif self.unmarked_begins_word and not (self.attached and piece.startswith(self.attached)):
            space_before = b" "
        for spelt, meant in self.replacements:
            piece = piece.replace(spelt, meant)
        # A letter outside the alphabet makes the whole piece literal text, for the decoder too.
        if self.byte_alphabet and not added and _ALPHABET.issuperset(piece):
            data = piece.translate(_BYTE_OF_LETTER).encode("latin-1")
        else:
            data = piece.encode("utf-8")
        written = space_before + data + space_after
        return Form.of(written) if written else None
