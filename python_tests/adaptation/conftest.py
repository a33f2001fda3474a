"""A moved model as small as can be, texts of its new language and of the source's, and trainings of a few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from factories import small_llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from salt_ext.plan import Provenance, TransferPlan

CONTEXT = 16
# Three steps of the tables, five of all weights; measurements and checkpoints at every second.
TINY: dict[str, Any] = {
    "phases": f"vocabulary={3 * 4 * CONTEXT},all={5 * 4 * CONTEXT}",
    "tokens_per_step": 4 * CONTEXT,
    "context": CONTEXT,
    "lr": 2e-2,
    "config": {"eval_steps": 2, "save_steps": 2, "use_cpu": True, "bf16": False},
    "progress": False,
}
ROWS = 260


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, so that tokens can be counted by hand: two specials first, then the 256 bytes."""
    specials = ["<s>", "</s>"]
    vocabulary = {token: n for n, token in enumerate([*specials, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


def write_text(file: Path, letters: str, *, lines: int = 400, seed: int = 0) -> Path:
    """Lines of words of a few letters each."""
    drawn = np.random.default_rng(seed)
    words = ["".join(drawn.choice(list(letters), size=drawn.integers(2, 6))) for _ in range(30)]
    file.write_text("".join(" ".join(drawn.choice(words, size=8)) + "\n" for _ in range(lines)), encoding="utf-8")
    return file


def save_moved(folder: Path, *, tied: bool = True, dtype: torch.dtype = torch.float32) -> Path:
    """A random model with a plan beside it: every third row is new, and those behind the tokens are padding."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = small_llama(ROWS, max_position_embeddings=32, tie_word_embeddings=tied, initializer_range=0.2)
        LlamaForCausalLM(config).to(dtype).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    rows = torch.arange(ROWS)
    provenance = torch.where(rows % 3 == 0, Provenance.REGRESSED, Provenance.COPIED).to(torch.uint8)
    provenance[258:] = Provenance.PADDING
    has_one = provenance != Provenance.PADDING
    residual = torch.full((ROWS,), float("nan"))
    TransferPlan(
        crow_indices=torch.cat([torch.zeros(1, dtype=torch.int64), has_one.cumsum(0)]),
        col_indices=rows[has_one],
        values=torch.ones(int(has_one.sum())),
        provenance=provenance,
        residual=residual,
        source_rows=ROWS,
        seed=0,
    ).save(folder / "salt_plan.safetensors")
    return folder


@pytest.fixture(scope="session")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_moved(tmp_path_factory.mktemp("adaptation") / "moved")


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("adaptation") / "new.txt", "abcdefg")


@pytest.fixture(scope="session")
def source_text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("adaptation") / "old.txt", "uvwxyz", seed=1)


def figures(folder: Path) -> list[dict[str, Any]]:
    """A curve without times, which no two runs share."""
    lines = (folder / "salt_curve.jsonl").read_text(encoding="utf-8").splitlines()
    timed = {"seconds", "tokens_per_second"}
    return [{name: value for name, value in json.loads(line).items() if name not in timed} for line in lines]
