"""Every reader meets mutated files: each is read, or refused with an InputError, in bounded time and memory.

SALT_FUZZ names the number of files for each reader: `SALT_FUZZ=10000 pytest python_tests/safety/test_fuzz.py`. A
failure names the number of the file, from which it can be made again.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch
import transformers
from factories import small_llama
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from salt_ext.checkpoint import Checkpoint
from salt_ext.checkpoint.header import read_header
from salt_ext.checkpoint.pickled import read_pickled
from salt_ext.checkpoint.reading import read_tensor
from salt_ext.errors import InputError
from salt_ext.plan import TransferPlan
from salt_ext.tokenizer import build_target, load_token_map, translated_configs
from salt_ext.vectors import open_vectors
from salt_ext.vocab import Vocabulary, load_tokenizer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="limits the address space of forked processes"),
]
WORDS = ["Haus", "Tür", "der", "日本"]


@dataclass
class Reader:
    """Something that reads files from anywhere.

    Attributes:
        make: writes healthy files into a folder.
        target: the file that is mutated.
        read: reads all that there is, and compares with an independent reader where there is one.
        count: mutated files in the usual run.
        json: whether the file is JSON; "header" for a JSON behind its length.
    """

    make: Callable[[Path], None]
    target: str
    read: Callable[[Path], None]
    count: int
    json: bool | str = False


def save_weights(folder: Path) -> None:
    tensors = {"a": torch.randn(4, 3), "b": torch.arange(6).to(torch.int8)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def read_weights(folder: Path) -> None:
    """Whatever we accept, the library accepts: nobody is handed a file that only we can read."""
    file = folder / "model.safetensors"
    tensors = read_header(file).tensors
    with safetensors.safe_open(file, "pt") as opened:
        assert set(opened.keys()) == {info.name for info in tensors}
    for info in tensors:
        if info.torch_dtype is not None:
            read_tensor(info)


def save_pickled(folder: Path) -> None:
    whole = torch.randn(5, 4)
    torch.save({"a": whole, "b": torch.arange(6).to(torch.int8), "c": whole.t()}, folder / "pytorch_model.bin")


def read_pickle(folder: Path) -> None:
    """What we and torch accept, we read as torch does; it may also refuse names of records, which we do not ask for."""
    tensors = read_pickled(folder / "pytorch_model.bin")
    try:
        expected = torch.load(folder / "pytorch_model.bin", weights_only=True)
    except Exception:
        return
    for info in tensors:
        found, other = read_tensor(info), expected[info.name].contiguous()
        assert found.shape == other.shape
        assert found.reshape(-1).view(torch.uint8).equal(other.reshape(-1).view(torch.uint8))


def save_model(folder: Path) -> None:
    config = small_llama(40, hidden_size=8, intermediate_size=8, pad_token_id=3)
    transformers.LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="2KB")
    lists = {"eos_token_id": [2, 3], "suppress_tokens": [4], "forced_decoder_ids": [[1, 5]], "bad_words_ids": [[6, 7]]}
    (folder / "generation_config.json").write_text(json.dumps({"bos_token_id": 1} | lists))


def read_model(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder)
    for name in checkpoint.vocabulary_tensors().names:
        checkpoint.read(name)
    tokens = {number: number + 1 for number in range(30)}
    translated_configs(checkpoint.config, checkpoint.generation_config, tokens=tokens, pad=7)


def save_fasttext(folder: Path) -> None:
    words, table = [word.encode() for word in ["</s>", *WORDS]], np.ones((16, 6), dtype="<f4")
    entries = b"".join(word + b"\0" + struct.pack("<qb", 256, 0) for word in words)
    (folder / "vectors.bin").write_bytes(
        struct.pack("<ii", 793712314, 12)
        + struct.pack("<12id", 6, 5, 5, 1, 5, 1, 2, 2, 11, 2, 4, 100, 1e-4)
        + struct.pack("<iiiqq", 5, 5, 0, 1000, -1)
        + entries
        + struct.pack("<Bqq", 0, *table.shape)
        + table.tobytes()
        + struct.pack("<Bqq", 0, 5, 6)
        + bytes(120)
    )


def save_word2vec(folder: Path) -> None:
    rows = b"".join(word.encode() + b" " + np.ones(6, dtype="<f4").tobytes() + b"\n" for word in WORDS)
    (folder / "vectors.bin").write_bytes(b"4 6\n" + rows)


def save_vec(folder: Path) -> None:
    (folder / "vectors.vec").write_text("4 3\n" + "".join(f"{word} 1 -2.5 3e-4\n" for word in WORDS), encoding="utf-8")


def save_tables(folder: Path) -> None:
    table = np.ones((4, 6), dtype=np.float32)
    np.save(folder / "vectors.npy", table)
    save_file({"vectors": torch.from_numpy(table), "b": torch.zeros(3)}, folder / "vectors.safetensors")
    (folder / "tokens.txt").write_text("".join(f"{word}\n" for word in WORDS), encoding="utf-8")


def read_vectors(spec: str) -> Callable[[Path], None]:
    prefix, _, name = spec.partition(":")

    def read(folder: Path) -> None:
        found = open_vectors(f"{prefix}:{folder / name}").lookup([*WORDS, "unseen", "🙂", None, ""])
        assert np.isfinite(found).all()
        assert found.shape[0] == 8

    return read


def save_tokenizer(kind: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        lines = [" ".join(WORDS), "Häuser und Türen, die der Welt gehören", "la la lala 12"] * 3
        special = ["<unk>", "<s>", "</s>", "<pad>"]
        if kind == "bytes":
            inner = Tokenizer(models.BPE())
            inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
            trainer = trainers.BpeTrainer(vocab_size=60, special_tokens=special, show_progress=False)
        elif kind == "unigram":
            inner = Tokenizer(models.Unigram())
            inner.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("la", "le")])
            inner.pre_tokenizer, inner.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
            trainer = trainers.UnigramTrainer(
                vocab_size=60, special_tokens=special, unk_token="<unk>", show_progress=False
            )
        else:
            inner = Tokenizer(models.WordPiece(unk_token="<unk>"))
            inner.normalizer, inner.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
            inner.decoder = decoders.WordPiece()
            trainer = trainers.WordPieceTrainer(vocab_size=60, special_tokens=special, show_progress=False)
        inner.train_from_iterator(lines, trainer)
        inner.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
        roles = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
        transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **roles).save_pretrained(folder)

    return make


def read_tokenizer(folder: Path) -> None:
    tokenizer = load_tokenizer(folder)
    Vocabulary.from_tokenizer(tokenizer, name="mutated")
    build_target(tokenizer, tokenizer)


def save_plan(folder: Path) -> None:
    TransferPlan(
        crow_indices=torch.tensor([0, 1, 3, 3, 3]),
        col_indices=torch.tensor([2, 0, 3]),
        values=torch.tensor([1.0, 0.25, 0.75]),
        provenance=torch.tensor([0, 1, 2, 3], dtype=torch.uint8),
        residual=torch.zeros(4),
        source_rows=5,
        seed=7,
    ).save(folder / "plan.safetensors")


def read_plan(folder: Path) -> None:
    plan = TransferPlan.load(folder / "plan.safetensors")
    # A plan may speak of a table of any size; the others are not asked for.
    if plan.source_rows <= 64:
        assert plan.apply(torch.ones(plan.source_rows, 2)).shape == (plan.target_rows, 2)


READERS = {
    "safetensors": Reader(save_weights, "model.safetensors", read_weights, 2000, "header"),
    "index": Reader(save_model, "model.safetensors.index.json", read_model, 400, True),
    "pickled": Reader(save_pickled, "pytorch_model.bin", read_pickle, 1000),
    "config": Reader(save_model, "config.json", read_model, 400, True),
    "generation-config": Reader(save_model, "generation_config.json", read_model, 400, True),
    "fasttext": Reader(save_fasttext, "vectors.bin", read_vectors("fasttext:vectors.bin"), 1000),
    "word2vec": Reader(save_word2vec, "vectors.bin", read_vectors("vectors:vectors.bin"), 1000),
    "vec": Reader(save_vec, "vectors.vec", read_vectors("vectors:vectors.vec"), 1000),
    "npy": Reader(save_tables, "vectors.npy", read_vectors("vectors:vectors.npy"), 1000),
    "table": Reader(save_tables, "vectors.safetensors", read_vectors("vectors:vectors.safetensors"), 1000, "header"),
    "token-list": Reader(save_tables, "tokens.txt", read_vectors("vectors:vectors.npy"), 500),
    "plan": Reader(save_plan, "plan.safetensors", read_plan, 1000, "header"),
    "token-map": Reader(
        lambda folder: (folder / "map.json").write_text('{"<s>": "<s>", "a": null, "#4": "#5"}') and None,
        "map.json",
        lambda folder: load_token_map(folder / "map.json") and None,
        500,
        True,
    ),
    **{
        f"{name}-{kind}": Reader(save_tokenizer(kind), f"{name}.json", read_tokenizer, 400, True)
        for kind in ("bytes", "unigram", "wordpiece")
        for name in ("tokenizer", "tokenizer_config")
    },
}


@pytest.mark.parametrize("name", READERS)
def test_mutated_files_are_read_or_refused(name, mutate, forked, tmp_path):
    reader = READERS[name]
    folder = tmp_path / "files"
    folder.mkdir()
    reader.make(folder)
    file = folder / reader.target
    healthy = file.read_bytes()
    before = sorted(path.name for path in folder.iterdir())
    in_bytes, in_json = mutate

    def mutated(number: int) -> bytes:
        generator = random.Random(f"{name} {number}")
        if not reader.json or generator.random() < 0.4:
            return in_bytes(healthy, generator)
        if reader.json is True:
            return in_json(healthy, generator)
        end = 8 + struct.unpack("<Q", healthy[:8])[0]
        header = in_json(healthy[8:end], generator)
        return struct.pack("<Q", len(header)) + header + healthy[end:]

    def work(number: int) -> bool:
        file.write_bytes(mutated(number))
        try:
            reader.read(folder)
        except InputError as error:
            assert len(str(error)) < 1000, f"a message of {len(str(error))} characters"  # noqa: PT017
            return False
        return True

    reader.read(folder)
    count = int(os.environ.get("SALT_FUZZ") or reader.count)
    accepted, failures = forked(count, work)
    print(f"{name}: {count} files, {accepted} read, {count - accepted - len(failures)} refused")
    for failure in failures[:1]:
        number = int(failure.split()[1].rstrip(":"))
        kept = tmp_path / f"number {number}"
        shutil.copytree(folder, kept)
        (kept / reader.target).write_bytes(mutated(number))
        print(f"kept: {kept}")
    assert not failures, f"{len(failures)} of {count} files, the first:\n" + "\n".join(failures[:3])
    assert sorted(path.name for path in folder.iterdir()) == before
    # Neither all too broken to be interesting, nor all untouched where it matters.
    assert accepted
    assert accepted < count
