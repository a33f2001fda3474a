"""Trains a small decoder of one language, with a tokenizer of its own: a donor where none can be downloaded.

    python train_donor.py OUT TEXT... [--hidden 192] [--layers 2] [--vocabulary 8000] [--tokens 6000000]
                          [--tokenizer FOLDER] [--threads 1]

The tokenizer is a byte-level BPE of the same texts, or another donor's: then the two donors of a language differ in
their strength alone.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from salt_ext.evaluation.precision import fast_dtype
from salt_ext.evaluation.text import adapt_stream, token_stream
from salt_ext.runtime.machine import cpu_threads

SPECIAL = ["<s>", "</s>", "<pad>"]
CONTEXT = 256


def train_tokenizer(texts: list[Path], size: int) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train([str(text) for text in texts], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[1], pad_token=SPECIAL[2]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("texts", type=Path, nargs="+")
    parser.add_argument("--hidden", type=int, default=192)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=8000)
    parser.add_argument("--tokens", type=int, default=6_000_000)
    parser.add_argument("--tokenizer", type=Path, default=None)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=None)
    chosen = parser.parse_args()
    with cpu_threads(chosen.threads):
        train(chosen)


def train(chosen: argparse.Namespace) -> None:
    torch.manual_seed(0)
    if chosen.tokenizer is None:
        tokenizer = train_tokenizer(chosen.texts, chosen.vocabulary)
    else:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(chosen.tokenizer)
    lines = [line for text in chosen.texts for line in text.read_text(encoding="utf-8").splitlines()]
    stream = token_stream(tokenizer, lines)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=chosen.hidden,
            intermediate_size=chosen.hidden * 8 // 3,
            num_hidden_layers=chosen.layers,
            num_attention_heads=chosen.hidden // 64,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=2,
        )
    )
    begun = time.perf_counter()

    def tell(done: int, steps: int) -> None:
        if done % 100 == 0:
            print(f"step {done} of {steps}, {time.perf_counter() - begun:.0f} s", flush=True)

    steps = chosen.tokens // 4096
    losses = adapt_stream(
        model,
        stream,
        steps=steps,
        tokens_per_step=4096,
        lr=chosen.lr,
        seed=0,
        context=CONTEXT,
        dtype=fast_dtype(torch.device("cpu")),
        progress=tell,
    )
    model.save_pretrained(chosen.output)
    tokenizer.save_pretrained(chosen.output)
    print(f"{len(stream.ids):,} tokens of text; last losses {sum(losses[-50:]) / len(losses[-50:]):.3f} nats a token")


if __name__ == "__main__":
    main()
