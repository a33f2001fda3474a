"""Tiny random checkpoints of real architectures, written by transformers itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from salt_ext.checkpoint import (
    Checkpoint,
    NewTensor,
    check_write,
    write_configs,
    write_tokenizer,
    write_weights,
)
from salt_ext.checkpoint.destination import require_replaceable
from salt_ext.checkpoint.staging import staged_folder

ROWS = 96
_SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_SMALL_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": ROWS, "bos_token_id": 1, "eos_token_id": 2}
_SMALL_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4, "vocab_size": ROWS}

CONFIGS: dict[str, Callable[[], transformers.PretrainedConfig]] = {
    "llama-tied": lambda: transformers.LlamaConfig(**_SMALL, vocab_size=ROWS, tie_word_embeddings=True),
    "llama-untied": lambda: transformers.LlamaConfig(**_SMALL, vocab_size=ROWS, tie_word_embeddings=False),
    # As many positions as rows: only the vocabulary's own dimension may count.
    "gpt2": lambda: transformers.GPT2Config(**_SMALL_GPT, n_positions=ROWS),
    "gpt-neox": lambda: transformers.GPTNeoXConfig(**_SMALL, vocab_size=ROWS),
    "gpt-j": lambda: transformers.GPTJConfig(**_SMALL_GPT, n_positions=64, rotary_dim=4),
    "opt": lambda: transformers.OPTConfig(
        hidden_size=32, ffn_dim=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=ROWS, word_embed_proj_dim=16
    ),
    # As many rows as hidden dimensions, so that every square matrix looks like a table.
    "llama-square": lambda: transformers.LlamaConfig(**_SMALL, vocab_size=32, tie_word_embeddings=False),
    "gemma3": lambda: transformers.Gemma3Config(
        text_config={**_SMALL, "vocab_size": ROWS, "num_key_value_heads": 2, "head_dim": 8},
        vision_config={**_SMALL, "image_size": 28, "patch_size": 14},
    ),
    "bert": lambda: transformers.BertConfig(**_SMALL, vocab_size=ROWS),
    "xlm-roberta": lambda: transformers.XLMRobertaConfig(**_SMALL, vocab_size=ROWS),
    "t5": lambda: transformers.T5Config(**_SMALL_T5),
}

AUTO = {
    "causal": transformers.AutoModelForCausalLM,
    "masked": transformers.AutoModelForMaskedLM,
    "seq2seq": transformers.AutoModelForSeq2SeqLM,
    "base": transformers.AutoModel,
}


def write_model(
    source: Checkpoint,
    output: Path,
    *,
    tensors: Mapping[str, NewTensor],
    config: dict[str, Any],
    generation_config: dict[str, Any] | None,
    tokenizer: Any,
    force: bool,
    inside: Callable[[Path], object] = lambda folder: None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> None:
    """A model folder, written as a transfer writes it; `inside` is called before it appears."""
    output = check_write(source, output, force=force, dtype=dtype)
    with staged_folder(output, force=force, check=require_replaceable) as folder:
        write_tokenizer(tokenizer, folder)
        write_weights(source, tensors, folder, dtype=dtype, **options)
        write_configs(config, generation_config, folder, dtype=dtype)
        inside(folder)


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., tuple[Path, transformers.PreTrainedModel]]:
    """Writes a tiny checkpoint: (config name, auto class, dtype, save_pretrained's options) -> folder and model."""

    def make(
        name: str, auto: str = "causal", dtype: torch.dtype = torch.float32, **options: object
    ) -> tuple[Path, transformers.PreTrainedModel]:
        torch.manual_seed(0)
        model = AUTO[auto].from_config(CONFIGS[name]()).to(dtype)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.02)
        folder = tmp_path / "models" / f"{name}-{auto}"
        model.save_pretrained(folder, **options)
        return folder, model

    return make


@pytest.fixture
def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A word-level tokenizer of 40 tokens."""
    words = {"<unk>": 0, "<s>": 1, "</s>": 2} | {f"w{i}": i for i in range(3, 40)}
    inner = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte; only root can mount one."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)
