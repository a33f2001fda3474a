"""Real vocabularies on tiny random bodies: hundreds of thousands of rows, padded as the real models' tables are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers

import salt_ext

_SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
_SIZE |= {"intermediate_size": 64, "head_dim": 8, "max_position_embeddings": 512}
# Family, rows of the real model's table, whether a text begins with bos.
SOURCES = {"qwen2.5": ("qwen2", 151936, False), "gemma2": ("gemma2", 256000, True)}
# How the donor's kind is called, and its unpadded table.
DONORS = {
    "xlm-roberta": "sentencepiece",
    "focus-de-bpe-50k": "byte-level",
    "focus-de-xlmr-unigram-30k": "sentencepiece",
}
_PLAIN = re.compile(r"[Ġ▁]?[A-Za-z]+")
_LENGTH = 256
_TEXT = "Die großen Häuser der Stadt stehen am Fluss, und 42 Bäcker öffnen früh."


class Source(NamedTuple):
    folder: Path
    tokenizer: Any
    begins: bool


def plain_tokens(tokenizer: Any) -> dict[tuple[bool, str], int]:
    """The tokens of nothing but ASCII letters, which every family but WordPiece spells alike but for its mark."""
    found = {token: number for token, number in tokenizer.get_vocab().items() if _PLAIN.fullmatch(token)}
    return {(token[0] in "Ġ▁", token.lstrip("Ġ▁")): number for token, number in found.items()}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, real_data) -> Callable[[str], Source]:
    known: dict[str, Source] = {}

    def make(name: str) -> Source:
        if name not in known:
            family, rows, begins = SOURCES[name]
            tokenizer = transformers.AutoTokenizer.from_pretrained(real_data / "tokenizers" / name)
            ids = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")}
            config = transformers.AutoConfig.for_model(
                family, vocab_size=rows, **_SIZE, **ids, tie_word_embeddings=True
            )
            torch.manual_seed(3)
            model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.normal_(0, 0.2)
            folder = tmp_path_factory.mktemp("real") / name
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            known[name] = Source(folder, tokenizer, begins)
        return known[name]

    return make


@pytest.mark.parametrize(
    ("name", "giver"),
    [
        pytest.param(name, giver, marks=() if (name, giver) == ("qwen2.5", "focus-de-bpe-50k") else pytest.mark.full)
        for name in SOURCES
        for giver in DONORS
    ],
)
def test_real_vocabularies(name, giver, sources, real_data, toolbox, tmp_path):
    source = sources(name)
    original = transformers.AutoTokenizer.from_pretrained(real_data / "tokenizers" / giver)
    donor = toolbox.save_donor(tmp_path / "donor", original, DONORS[giver], len(original) + 8)
    salt_ext.transfer(source.folder, donor, tmp_path / "out", method="salt", method_options={"temperature": 0.2})
    old_ids, new_ids = plain_tokens(source.tokenizer), plain_tokens(original)
    shared = sorted(old_ids.keys() & new_ids.keys())
    assert len(shared) > 2000
    old, new = ([ids[token] for token in shared] for ids in (old_ids, new_ids))
    drawn = np.random.default_rng(0).choice(len(shared), _LENGTH, replace=False)
    before = toolbox.run(source.folder, [old[number] for number in drawn])
    after = toolbox.run(tmp_path / "out", [new[number] for number in drawn])
    toolbox.bits_equal(after.hidden, before.hidden, "last hidden states")
    exact, bound = toolbox.exact_logits(before, old)
    assert ((before.logits[:, old].double() - exact).abs() <= bound).all()
    assert ((after.logits[:, new].double() - exact).abs() <= bound).all()
    toolbox.bits_equal(after.head[new], before.head[old], "rows of the anchors")

    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    config = after.model.config
    assert after.tied
    assert len(after.head) == config.vocab_size >= len(tokenizer) >= len(original)
    for role in ("bos", "eos", "pad"):
        one, other = getattr(source.tokenizer, f"{role}_token_id"), getattr(tokenizer, f"{role}_token_id")
        if one is not None:
            assert getattr(config, f"{role}_token_id") == other
            toolbox.bits_equal(after.head[other], before.head[one], role)
    # The donor's pieces within the source's frame.
    pieces = original(_TEXT, add_special_tokens=False)["input_ids"]
    assert tokenizer(_TEXT)["input_ids"] == [tokenizer.bos_token_id] * source.begins + pieces
    assert tokenizer.decode(pieces) == original.decode(pieces)
    made, kept = toolbox.tensors(tmp_path / "out"), toolbox.tensors(source.folder)
    assert made.keys() == kept.keys()
    for key in made.keys() - {"model.embed_tokens.weight"}:
        toolbox.bits_equal(made[key], kept[key], key)
    prompt = torch.tensor([pieces])
    assert after.model.generate(prompt, max_new_tokens=2, min_new_tokens=2).shape[1] == len(pieces) + 2
