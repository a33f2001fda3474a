"""Small tokenizers of every family, parallel lines, and corpora of whitespace-separated words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from salt_ext.alignment import Corpus
from salt_ext.vocab import Vocabulary, load_tokenizer

ENGLISH = ["the small house stands here", "the house", "a small dog runs", "the dog and the house", "don't run, dog!"]
GERMAN = [
    "das kleine Haus steht hier",
    "das Haus",
    "ein kleiner Hund läuft",
    "der Hund und das Haus",
    "lauf nicht, Hund!",
]
SPECIAL = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


class Opened(NamedTuple):
    tokenizer: PreTrainedTokenizerFast
    vocabulary: Vocabulary


def byte_level(lines: Sequence[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=290, initial_alphabet=alphabet, special_tokens=["<s>", "</s>", "<unk>"])
    tokenizer.train_from_iterator([*lines] * 3, trainer)
    return tokenizer


def metaspace(lines: Sequence[str]) -> Tokenizer:
    """As Llama 2: no pre-tokenizer, so that the whole text is one word to it."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    words = sorted({word for line in lines for word in line.split()})
    trainer = trainers.BpeTrainer(vocab_size=70, special_tokens=["<unk>", "<s>", "</s>"])
    tokenizer.train_from_iterator(words * 3, trainer)
    return tokenizer


def unigram(lines: Sequence[str]) -> Tokenizer:
    """Normalises as XLM-R does: compatibility forms and lower case, which changes lengths."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>")
    tokenizer.train_from_iterator([*lines] * 3, trainer)
    return tokenizer


def wordpiece(lines: Sequence[str]) -> Tokenizer:
    """Uncased, without accents."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=60, special_tokens=["<unk>", "<s>", "</s>"])
    tokenizer.train_from_iterator([*lines] * 3, trainer)
    return tokenizer


FAMILIES = {"byte-level": byte_level, "metaspace": metaspace, "unigram": unigram, "wordpiece": wordpiece}


def opened(tokenizer: Tokenizer, name: str) -> Opened:
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)
    return Opened(fast, Vocabulary.from_tokenizer(fast, name=name))


@pytest.fixture(scope="session")
def trained() -> dict[str, tuple[Opened, Opened]]:
    """Of every family an English and a German tokenizer."""
    return {
        name: (opened(build(ENGLISH), f"{name}-en"), opened(build(GERMAN), f"{name}-de"))
        for name, build in FAMILIES.items()
    }


@pytest.fixture
def folders(tmp_path, trained) -> tuple[Path, Path]:
    """The byte-level tokenizers on disk."""
    for side, name in zip(trained["byte-level"], ("en", "de"), strict=True):
        side.tokenizer.save_pretrained(tmp_path / name)
    return tmp_path / "en", tmp_path / "de"


@cache
def _open(folder: Path, name: str) -> Opened:
    tokenizer = load_tokenizer(folder)
    return Opened(tokenizer, Vocabulary.from_tokenizer(tokenizer, name=name))


@pytest.fixture
def real(real_data) -> Callable[[str], Opened]:
    return lambda name: _open(real_data / name, name)


@pytest.fixture(scope="session")
def corpus() -> Callable[[Sequence[str]], tuple[Corpus, list[str]]]:
    """Lines of words as a corpus, and the words by their numbers."""

    def number(lines: Sequence[str]) -> tuple[Corpus, list[str]]:
        numbers: dict[str, int] = {}
        rows = [[numbers.setdefault(word, len(numbers)) for word in line.split()] for line in lines]
        starts = np.cumsum([0, *map(len, rows)])
        return Corpus(starts, np.array([unit for row in rows for unit in row], dtype=np.int64)), list(numbers)

    return number
