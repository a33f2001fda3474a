"""A chat model, moved: the conversation keeps its structure, and its markers keep the source's rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from factories import small_llama
from safetensors.torch import load_file

import salt_ext

ROWS = 151_936  # as Qwen2.5's own tables: 271 rows beyond the tokenizer
CHAT = [
    {"role": "system", "content": "Du bist hilfreich."},
    {"role": "user", "content": "Wie hoch ist der Kölner Dom?"},
    {"role": "assistant", "content": "157 Meter."},
    {"role": "user", "content": "Danke!"},
]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]
MARKERS = ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>", "<|fim_middle|>"]
# Qwen2.5 fills with <|endoftext|>, which no template writes; the donor has a token for that.
PADS = ("<|endoftext|>", "<pad>")


@pytest.fixture(scope="module")
def chat_source(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Qwen2.5's tokenizer and template on a tiny body, with an untied head and a list of end tokens."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(real_data / "tokenizers" / "qwen2.5")
    if tokenizer.chat_template is None:
        pytest.skip("this copy of Qwen2.5's tokenizer has no chat template")
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=ROWS,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=False,
        bos_token_id=tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        eos_token_id=tokenizer.convert_tokens_to_ids("<|im_end|>"),
    )
    model = transformers.Qwen2ForCausalLM(config).to(torch.bfloat16)
    ends = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    model.generation_config = transformers.GenerationConfig(eos_token_id=ends, pad_token_id=ends[1])
    folder = tmp_path_factory.mktemp("chat") / "source"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def chat_donor(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A German byte-level BPE with a random table."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(real_data / "tokenizers" / "focus-de-bpe-50k")
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("chat") / "donor"
    transformers.LlamaForCausalLM(small_llama(len(tokenizer), hidden_size=24)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_chat_model_stays_one(chat_source, chat_donor, tmp_path):
    result = salt_ext.transfer(chat_source, chat_donor, tmp_path / "out", method="salt", method_options={"ridge": 0.1})
    old = transformers.AutoTokenizer.from_pretrained(chat_source)
    new = transformers.AutoTokenizer.from_pretrained(result.output)
    for tools in (None, TOOLS):
        texts = [
            t.apply_chat_template(CHAT, tools=tools, tokenize=False, add_generation_prompt=True) for t in (old, new)
        ]
        assert texts[0] == texts[1]
        before, after = (
            [t for t in tokenizer.convert_ids_to_tokens(tokenizer(texts[0])["input_ids"]) if t in MARKERS]
            for tokenizer in (old, new)
        )
        assert before == after
        assert before.count("<|im_start|>") == len(CHAT) + 1

    tables, originals = load_file(result.output / "model.safetensors"), load_file(chat_source / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        rows = tables[name][new.convert_tokens_to_ids([*MARKERS, PADS[1]])]
        assert torch.equal(rows, originals[name][old.convert_tokens_to_ids([*MARKERS, PADS[0]])])
        # Qwen2.5's rows are 128 times 1187, and so many as to be a multiple of 128 are the new ones.
        assert tables[name].shape[0] == -(-len(new) // 128) * 128

    assert new.eos_token == "<|im_end|>"
    config = json.loads((result.output / "config.json").read_text(encoding="utf-8"))
    generation = json.loads((result.output / "generation_config.json").read_text(encoding="utf-8"))
    assert config["eos_token_id"] == new.convert_tokens_to_ids("<|im_end|>")
    assert generation["eos_token_id"] == new.convert_tokens_to_ids(["<|im_end|>", PADS[1]])
    assert generation["pad_token_id"] == new.convert_tokens_to_ids(PADS[1]) == new.pad_token_id
    model = transformers.AutoModelForCausalLM.from_pretrained(result.output)
    prompt = new.apply_chat_template(CHAT, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    assert model.generate(**prompt, max_new_tokens=3, do_sample=False).shape[1] > prompt["input_ids"].shape[1]


def test_markers_can_be_dropped(chat_source, chat_donor, tmp_path):
    result = salt_ext.transfer(
        chat_source, chat_donor, tmp_path / "out", method="salt", method_options={"ridge": 0.1}, keep_markers=False
    )
    new = transformers.AutoTokenizer.from_pretrained(result.output)
    assert "<|im_start|>" not in new.get_vocab()
    assert any("<|im_start|>" in warning for warning in result.report["warnings"])
