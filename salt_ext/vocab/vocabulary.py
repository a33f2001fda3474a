"""An immutable view of one tokenizer's ids: spellings, forms, special tokens."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from salt_ext.errors import InputError
from salt_ext.vocab.families import backend_of, spelling_of
from salt_ext.vocab.forms import Form
from salt_ext.vocab.roles import special_roles

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A hundred times the largest vocabulary there is.
_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class Vocabulary:
    """What every id of a tokenizer stands for.

    Attributes:
        name: what to call it in messages.
        kind: the tokenizer's family, such as "byte-level BPE", "SentencePiece Unigram" or "WordPiece".
        size: highest id + 1, over vocabulary and added tokens; there may be holes.
        tokens: spelling by id, None for a hole.
        forms: form by id, None for holes, special tokens and pieces that stand for nothing.
        roles: "bos", "eos", "pad", "unk", "cls", "sep", "mask" -> id, only those that the tokenizer defines.
        special_ids: ids of all special tokens, with or without a role.
        byte_ids: ids of the byte-fallback pieces `<0x00>` to `<0xFF>`.
    """

    name: str
    kind: str
    size: int
    tokens: list[str | None] = field(repr=False)
    forms: list[Form | None] = field(repr=False)
    roles: dict[str, int]
    special_ids: frozenset[int] = field(repr=False)
    byte_ids: frozenset[int] = field(repr=False)

    @classmethod
    def from_tokenizer(cls, tokenizer: PreTrainedTokenizerBase, *, name: str) -> Vocabulary:
        """Read the vocabulary from the tokenizer's own definition.

        Args:
            tokenizer: a tokenizer with one of the `tokenizers` library behind it ("fast").
            name: what to call it in messages.

        Raises:
            InputError: no fast tokenizer, an empty vocabulary, absurd ids, or a family that is not understood.
        """
        backend = backend_of(tokenizer, name)
        spelling = spelling_of(backend, name)
        ids = backend.get_vocab(with_added_tokens=True)
        size = max(ids.values(), default=-1) + 1
        if not ids:
            raise InputError(f"tokenizer of {name}: its vocabulary is empty")
        if size > 16 * len(ids) + 2**20:
            raise InputError(f"tokenizer of {name}: it has {len(ids)} tokens, but ids up to {size - 1}")

        added = backend.get_added_tokens_decoder()
        roles = special_roles(tokenizer, ids)
        special = {number for number, token in added.items() if token.special} | set(roles.values())
        special.update(ids[token] for token in tokenizer.all_special_tokens if token in ids)
        # What the model itself falls back to is a byte, also where a trainer was given it as a special token.
        pieces = backend.get_vocab(with_added_tokens=False) if any(map(spelling.is_byte_piece, ids)) else {}
        byte_ids = {number for token, number in pieces.items() if spelling.is_byte_piece(token)} - set(roles.values())
        special -= byte_ids
        model_unknown = getattr(backend.model, "unk_token", None)
        if model_unknown in ids:
            special.add(ids[model_unknown])

        tokens: list[str | None] = [None] * size
        forms: list[Form | None] = [None] * size
        written = 0
        for token, number in ids.items():
            tokens[number] = token
            if number not in special:
                forms[number] = form = spelling.form(token, added=number in added and number not in byte_ids)
                written += 0 if form is None else len(form.data)
                if written > _MOST_BYTES:
                    raise InputError(f"tokenizer of {name}: its tokens write more than {_MOST_BYTES:,} bytes in all")
        return cls(
            name=name,
            kind=spelling.kind,
            size=size,
            tokens=tokens,
            forms=forms,
            roles=roles,
            special_ids=frozenset(special),
            byte_ids=frozenset(byte_ids),
        )

    def without(self, ids: Collection[int]) -> Vocabulary:
        """The same with holes in place of some tokens; holes at its end are cut off."""
        gone = frozenset(ids)
        kept = [None if number in gone else token for number, token in enumerate(self.tokens)]
        size = max((number for number, token in enumerate(kept) if token is not None), default=-1) + 1
        return replace(
            self,
            size=size,
            tokens=kept[:size],
            forms=[None if number in gone else form for number, form in enumerate(self.forms[:size])],
            roles={role: number for role, number in self.roles.items() if number not in gone},
            special_ids=self.special_ids - gone,
            byte_ids=self.byte_ids - gone,
        )

    def swapped(self, first: int, second: int) -> Vocabulary:
        """The same with the tokens of two ids in each other's place."""
        places = {first: second, second: first}
        tokens, forms = list(self.tokens), list(self.forms)
        tokens[first], tokens[second] = tokens[second], tokens[first]
        forms[first], forms[second] = forms[second], forms[first]
        return replace(
            self,
            tokens=tokens,
            forms=forms,
            roles={role: places.get(number, number) for role, number in self.roles.items()},
            special_ids=frozenset(places.get(number, number) for number in self.special_ids),
            byte_ids=frozenset(places.get(number, number) for number in self.byte_ids),
        )

    def readable(self, number: int) -> str | None:
        """What a token adds to a text, bytes that are no text as \\x..; a special token's spelling; None of a hole."""
        form = self.forms[number]
        return self.tokens[number] if form is None else form.written.decode("utf-8", "backslashreplace")


def written_id(text: str) -> int | None:
    """The id that a user writes as "#7"; None for what is no id, and for one that no vocabulary reaches."""
    digits = text[1:]
    # Python refuses to read numbers of some thousand digits, and no table has 10^18 rows.
    if text[:1] != "#" or not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
        return None
    return int(digits)
