"""A small world: two languages that share syllables, tokenizers trained on them, tiny random models, word vectors."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SHARED = ["an", "en", "ter", "lo", "mi", "sa", "Ka", "é"]
ONLY_SOURCE = ["wor", "th", "ing", "oo", "by"]
ONLY_TARGET = ["sch", "über", "ung", "zei", "ö", "pf", "au"]
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def text_of(syllables: list[str], seed: int, words: int = 3000) -> list[str]:
    """Lines of words made of random syllables; a few words are frequent, as in a language."""
    generator = np.random.default_rng(seed)
    lexicon = ["".join(generator.choice(syllables, size=generator.integers(1, 4))) for _ in range(400)]
    drawn = generator.zipf(1.3, size=words) % len(lexicon)
    chosen = [lexicon[number] for number in drawn]
    return [" ".join(chosen[begin : begin + 12]) for begin in range(0, words, 12)]


def byte_level(lines: list[str], size: int, special: dict[str, str]) -> transformers.PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator(lines, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def word_piece(lines: list[str], size: int) -> transformers.PreTrainedTokenizerFast:
    special = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=list(special.values()), show_progress=False)
    inner.train_from_iterator(lines, trainer)
    inner.post_processor = processors.BertProcessing(
        ("[SEP]", inner.token_to_id("[SEP]")), ("[CLS]", inner.token_to_id("[CLS]"))
    )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def save_model(
    folder: Path,
    tokenizer: transformers.PreTrainedTokenizerBase,
    *,
    hidden: int = 48,
    rows: int | None = None,
    tied: bool = True,
    dtype: torch.dtype = torch.float32,
    encoder: bool = False,
    **options: object,
) -> Path:
    """A random model with the tokenizer beside it; `rows` of its table, as many as tokens if not given."""
    torch.manual_seed(hidden)
    size = {
        "vocab_size": rows or len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    if encoder:
        model: transformers.PreTrainedModel = transformers.BertModel(transformers.BertConfig(**size))
    else:
        ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
        config = transformers.LlamaConfig(**size, **ids, max_position_embeddings=64, tie_word_embeddings=tied)
        model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    model.to(dtype).save_pretrained(folder, **options)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def source_tokenizer() -> transformers.PreTrainedTokenizerFast:
    return byte_level(text_of(SHARED + ONLY_SOURCE, 1), 420, SPECIAL)


@pytest.fixture(scope="session")
def target_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """It has two special tokens that the source lacks."""
    return byte_level(text_of(SHARED + ONLY_TARGET, 2), 450, SPECIAL | {"pad_token": "<pad>", "mask_token": "<mask>"})


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, source_tokenizer) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "source", source_tokenizer)


@pytest.fixture(scope="session")
def untied_source(tmp_path_factory: pytest.TempPathFactory, source_tokenizer) -> Path:
    """bfloat16, an untied head, rows beyond the vocabulary, several files."""
    folder = tmp_path_factory.mktemp("models") / "untied"
    return save_model(
        folder, source_tokenizer, rows=448, tied=False, dtype=torch.bfloat16, max_shard_size="40KB", hidden=64
    )


@pytest.fixture(scope="session")
def donor(tmp_path_factory: pytest.TempPathFactory, target_tokenizer) -> Path:
    """Rows beyond its vocabulary, too."""
    folder = tmp_path_factory.mktemp("models") / "donor"
    return save_model(folder, target_tokenizer, hidden=32, rows=512)


@pytest.fixture(scope="session")
def encoder_donor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = word_piece(text_of(SHARED + ONLY_TARGET, 2), 300)
    return save_model(tmp_path_factory.mktemp("models") / "bert", tokenizer, hidden=32, encoder=True)


@pytest.fixture(scope="session")
def word_vectors(tmp_path_factory: pytest.TempPathFactory, target_tokenizer) -> tuple[Path, dict[str, np.ndarray]]:
    """A .vec file with a vector for most texts of the target's tokens, and the same as a dictionary."""
    decoder = target_tokenizer.backend_tokenizer.decoder
    texts = sorted({decoder.decode([token]).strip() for token in target_tokenizer.get_vocab()})
    texts = [
        text for text in texts if text and text.isprintable() and "\ufffd" not in text and not text.startswith("<")
    ]
    generator = np.random.default_rng(3)
    table = generator.normal(size=(len(texts), 20)).astype(np.float32)
    vectors = {text: row for number, (text, row) in enumerate(zip(texts, table, strict=True)) if number % 11}
    lines = [f"{len(vectors)} 20", *(" ".join([text, *map(repr, row.tolist())]) for text, row in vectors.items())]
    file = tmp_path_factory.mktemp("vectors") / "words.vec"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file, vectors


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Path], Path]:
    """A copy of a model folder that a test may damage."""

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / "copies" / folder.name))

    return copy
