"""The whole job as a case: salt_ext.transfer beside transformers resizing the same small model, files to files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from harness import Case, again
from memory import tokenizer
from safetensors.torch import load_file
from stages import arrays
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, LlamaModel, logging

import salt_ext

TOKENS, HIDDEN, DONOR_HIDDEN = 3000, 512, 256
TABLE = "model.embed_tokens.weight"


def save(folder: Path, kind: type, letters: str, tokens: int, hidden: int) -> Path:
    words = tokenizer(letters, tokens)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=4,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=1,
    )
    torch.manual_seed(0)
    model = kind(config)
    # Clustered rows, as trained ones are: rows at random resemble all others a little, and supports would be huge.
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(arrays(tokens, 1, hidden, 1, 1)[0])
    model.bfloat16().save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def pair(folder: Path, tokens: int) -> tuple[Path, Path]:
    source = save(folder / f"source-{tokens}", LlamaForCausalLM, "abcdefghijklmnopqr", tokens, HIDDEN)
    return source, save(folder / f"donor-{tokens}", LlamaModel, "jklmnopqrstuvwxyzA", tokens, DONOR_HIDDEN)


def resized(source: Path, donor: Path, output: Path) -> None:
    words = AutoTokenizer.from_pretrained(donor)
    model = AutoModelForCausalLM.from_pretrained(source, dtype="bfloat16")
    model.resize_token_embeddings(len(words), mean_resizing=False)
    model.save_pretrained(output)
    words.save_pretrained(output)


def by_paper(source: Path, donor: Path, output: Path) -> salt_ext.TransferResult:
    """By the method that the floors are of."""
    return salt_ext.transfer(source, donor, output, method="salt")


def whole_job() -> Case:
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    scratch = tempfile.TemporaryDirectory(prefix="salt-ext-job-")
    folder = Path(scratch.name)
    source, donor = pair(folder, TOKENS)
    less_source, less_donor = pair(folder, TOKENS // 2)

    def into(function: Callable[[Path, Path, Path], Any], *inputs: Path) -> Callable[[], Any]:
        output = folder / function.__name__

        def run() -> Any:
            shutil.rmtree(output, ignore_errors=True)
            return function(*inputs, output)

        return run

    def check(result: salt_ext.TransferResult) -> None:
        # The folder lives as long as the case does: `scratch` removes it.
        assert Path(scratch.name) in result.output.parents
        tables = load_file(result.output / "model.safetensors")
        assert tables[TABLE].shape == (TOKENS, HIDDEN)
        assert tables[TABLE].isfinite().all()
        assert (tables[TABLE] != 0).any(1).all()
        assert torch.equal(tables["model.norm.weight"], load_file(source / "model.safetensors")["model.norm.weight"])

    return Case(
        "whole job",
        into(by_paper, source, donor),
        into(by_paper, less_source, less_donor),
        again(8, into(resized, source, donor)),
        check,
    )
