"""A tokenizer.model (SentencePiece) that says what tokenizer.json says, for readers that know no other file.

The format is the protocol buffer of sentencepiece_model.proto in github.com/google/sentencepiece; the few fields that
its readers need are written by hand, so that neither sentencepiece nor protobuf has to be installed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from salt_ext.tokenizer.spacing import writes_leading_space

Definition = dict[str, Any]

MARK = "▁"
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
_BPE = 2
_BYTES = {f"<0x{value:02X}>": value for value in range(256)}
_IS_MARK = {"String": MARK}
_IS_SPACE = {"String": " "}


class _Piece(NamedTuple):
    text: str
    score: float
    kind: int


def is_sentencepiece_bpe(backend: Tokenizer) -> bool:
    """Whether the tokenizer is of the kind that llama.cpp takes for a SentencePiece model: BPE with byte fallback."""
    return type(backend.model).__name__ == "BPE" and bool(getattr(backend.model, "byte_fallback", False))


def sentencepiece_model(backend: Tokenizer, *, bos: str | None, eos: str | None) -> bytes | None:
    """The content of tokenizer.model; None where no such model cuts texts as the tokenizer does.

    SentencePiece joins every pair of pieces that together are a piece, the best score first; so every such pair must be
    among the tokenizer's merges, and the merges that make one piece must follow each other. What stands in the way is
    named in `_pieces` and `_is_plain`. SentencePiece puts its space before every text, also before one that begins
    with a space, where some tokenizers of the library put none.

    Args:
        backend: the tokenizer.
        bos: the token that begins a text, if it has that role.
        eos: the token that ends one, likewise.
    """
    if not is_sentencepiece_bpe(backend):
        return None
    definition = json.loads(backend.to_str())
    pieces = _pieces(definition)
    if pieces is None or not _is_plain(definition, pieces):
        return None
    ids = {piece.text: number for number, piece in enumerate(pieces)}
    unknown = definition["model"]["unk_token"]
    trainer = [
        _number(3, _BPE),
        _number(4, len(pieces)),
        _number(35, 1),  # byte_fallback
        _number(40, ids[unknown]),
        _number(41, ids.get(bos or "", -1)),
        _number(42, ids.get(eos or "", -1)),
        _number(43, -1),  # no padding
        _bytes(45, unknown.encode()),
        *([_bytes(46, bos.encode())] if bos in ids and bos is not None else []),
        *([_bytes(47, eos.encode())] if eos in ids and eos is not None else []),
    ]
    normalizer = [
        _bytes(1, b"identity"),
        _number(3, int(writes_leading_space(backend))),  # add_dummy_prefix
        _number(4, 0),  # remove_extra_whitespaces
        _number(5, 1),  # escape_whitespaces
    ]
    parts = [_bytes(1, b"".join([_bytes(1, p.text.encode()), _float(2, p.score), _number(3, p.kind)])) for p in pieces]
    return b"".join([*parts, _bytes(2, b"".join(trainer)), _bytes(3, b"".join(normalizer))])


def _pieces(definition: Definition) -> list[_Piece] | None:
    """All pieces in order of their ids; None where ids have holes, two pieces are one, or scores cannot say it all."""
    model, added = definition["model"], {token["content"]: token for token in definition["added_tokens"]}
    numbers: dict[str, int] = model["vocab"] | {content: token["id"] for content, token in added.items()}
    spelt = {number: text for text, number in numbers.items()}
    normal = {text for text in model["vocab"] if text not in added and text not in _BYTES}
    # transformers spells some byte pieces (Gemma's <0x09>) as what they stand for; SentencePiece wants all 256.
    bare = {chr(value): piece for piece, value in _BYTES.items() if piece not in numbers and value < 0x80}
    scores = _scores(model["merges"], normal)
    texts = {text.replace(" ", MARK) for text in numbers}
    whole = sorted(spelt) == list(range(len(numbers))) and len(texts) == len(numbers) and "" not in numbers
    lacking = len(_BYTES.keys() - numbers.keys()) > len(bare.keys() & normal)
    if scores is None or not whole or lacking or model["unk_token"] not in numbers or model.get("ignore_merges"):
        return None
    found = []
    for number in range(len(spelt)):
        text = spelt[number]
        if text in bare and text not in added:
            text = bare[text]
        if text == model["unk_token"]:
            kind = _UNKNOWN
        elif text in added:
            kind = _CONTROL if added[text]["special"] else _USER_DEFINED
        else:
            kind = _BYTE if text in _BYTES else _NORMAL
        # No merge makes a single character; SentencePiece's own trainer puts it behind all others.
        score = scores.get(text, -float(len(scores) + number)) if kind == _NORMAL else 0.0
        found.append(_Piece(text.replace(" ", MARK), score, kind))
    return found


def _scores(merges: Iterable[Any], normal: set[str]) -> dict[str, float] | None:
    """For each piece that merges make the negative place of its first; None where they do not follow by pieces.

    Runs of one character may stand among each other: Gemma's do, and whichever goes first, a run ends as one piece.
    """
    scores: dict[str, float] = {}
    known = set()
    last = None
    for entry in merges:
        left, right = entry.split(" ") if isinstance(entry, str) else entry
        known.add((left, right))
        made = left + right
        if made != last and made in scores and len(set(made)) > 1:
            return None
        scores.setdefault(made, -float(len(scores)))
        last = made
    for text in normal:
        if any(pair not in known for pair in _halves(text) if pair[0] in normal and pair[1] in normal):
            return None
    return scores


def _halves(text: str) -> Iterator[tuple[str, str]]:
    return ((text[:at], text[at:]) for at in range(1, len(text)))


def _is_plain(definition: Definition, pieces: list[_Piece]) -> bool:
    """Whether nothing but spaces is changed or cut at before the merges."""
    for step in _flat(definition["normalizer"]):
        replaced = step["type"] == "Replace" and step["pattern"] == _IS_SPACE and step["content"] == MARK
        doubled = step["type"] == "Replace" and step["pattern"].get("Regex") in (rf"\A{MARK}", f"^{MARK}")
        if not (replaced or doubled or (step["type"] == "Prepend" and step["prepend"] == MARK)):
            return False
    for step in _flat(definition["pre_tokenizer"]):
        at_spaces = step["type"] == "Split" and step["pattern"] in (_IS_SPACE, _IS_MARK)
        splits = step["type"] == "Metaspace" and step["split"]
        if step["type"] != "Metaspace" and not at_spaces:
            return False
        if splits and any(MARK in piece.text[1:] for piece in pieces if piece.kind == _NORMAL):
            return False
    return True


def _flat(definition: Definition | None) -> list[Definition]:
    if definition is None:
        return []
    for key in ("normalizers", "pretokenizers"):
        if key in definition:
            return [step for inner in definition[key] for step in _flat(inner)]
    return [definition]


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value & 0xFFFFFFFFFFFFFFFF)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
