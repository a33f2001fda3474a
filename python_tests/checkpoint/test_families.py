"""Every family's vocabulary-indexed tensors, as stated here by hand, in checkpoints that transformers wrote."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import transformers

from salt_ext.checkpoint import Checkpoint, VocabularyTensors, keys

ROWS = 104  # no other size here is 104, so that every tensor with that dimension must be the vocabulary's
COMMON = {"vocab_size": ROWS, "num_hidden_layers": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
LLAMA = {**COMMON, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
NARROW = {**LLAMA, "head_dim": 8}
GPT = {**COMMON, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
VISION = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
PER_LAYER = {**NARROW, "vocab_size_per_layer_input": 80, "hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0}
GEMMA3N = {**PER_LAYER, "laurel_rank": 4, "layer_types": ["sliding_attention", "full_attention"]}
T5 = {**COMMON, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 1, "num_heads": 4, "decoder_start_token_id": 0}
BART = {**COMMON, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
DEEPSEEK = {
    **LLAMA,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 24,
    "n_routed_experts": 4,
    "n_group": 2,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
}


class Family(NamedTuple):
    """How its models are made, and the keys that they must have."""

    config: Callable[..., transformers.PretrainedConfig]
    sizes: dict[str, object]
    input: str
    head: str
    ties: tuple[bool, ...] = (True, False)
    others: tuple[str, ...] = ()
    untied: tuple[str, ...] = ()
    dims: dict[str, int] = {}  # noqa: RUF012 (never changed)


MODEL = "model.embed_tokens.weight"
FAMILIES = {
    "llama": Family(transformers.LlamaConfig, LLAMA, MODEL, "lm_head.weight"),
    "mistral": Family(transformers.MistralConfig, LLAMA, MODEL, "lm_head.weight"),
    "mixtral": Family(transformers.MixtralConfig, {**LLAMA, "num_local_experts": 4}, MODEL, "lm_head.weight"),
    "qwen2": Family(transformers.Qwen2Config, LLAMA, MODEL, "lm_head.weight"),
    "qwen3": Family(transformers.Qwen3Config, NARROW, MODEL, "lm_head.weight"),
    "gemma": Family(transformers.GemmaConfig, NARROW, MODEL, "lm_head.weight"),
    "gemma2": Family(transformers.Gemma2Config, NARROW, MODEL, "lm_head.weight"),
    "gemma3-text": Family(transformers.Gemma3TextConfig, NARROW, MODEL, "lm_head.weight"),
    "gemma3": Family(
        transformers.Gemma3Config,
        {"text_config": NARROW, "vision_config": {**VISION, "image_size": 28, "patch_size": 14}},
        "language_model.model.embed_tokens.weight",
        "language_model.lm_head.weight",
    ),
    "gemma3n-text": Family(
        transformers.Gemma3nTextConfig,
        GEMMA3N,
        MODEL,
        "lm_head.weight",
        others=("model.embed_tokens_per_layer.weight",),
    ),
    "gpt2": Family(transformers.GPT2Config, GPT, "transformer.wte.weight", "lm_head.weight"),
    "gpt-neox": Family(transformers.GPTNeoXConfig, LLAMA, "gpt_neox.embed_in.weight", "embed_out.weight"),
    "gpt-j": Family(
        transformers.GPTJConfig,
        {**GPT, "rotary_dim": 4},
        "transformer.wte.weight",
        "lm_head.weight",
        others=("lm_head.bias",),
    ),
    "opt": Family(
        transformers.OPTConfig,
        {**LLAMA, "ffn_dim": 48, "word_embed_proj_dim": 16},
        "model.decoder.embed_tokens.weight",
        "lm_head.weight",
    ),
    "bloom": Family(
        transformers.BloomConfig,
        {**COMMON, "hidden_size": 32, "n_layer": 2, "n_head": 4},
        "transformer.word_embeddings.weight",
        "lm_head.weight",
    ),
    "falcon": Family(transformers.FalconConfig, LLAMA, "transformer.word_embeddings.weight", "lm_head.weight"),
    "phi": Family(transformers.PhiConfig, LLAMA, MODEL, "lm_head.weight", others=("lm_head.bias",)),
    "phi3": Family(transformers.Phi3Config, LLAMA, MODEL, "lm_head.weight"),
    "xglm": Family(
        transformers.XGLMConfig,
        {**COMMON, "d_model": 32, "ffn_dim": 48, "num_layers": 2, "attention_heads": 4},
        MODEL,
        "lm_head.weight",
    ),
    "stablelm": Family(transformers.StableLmConfig, LLAMA, MODEL, "lm_head.weight"),
    "olmo2": Family(transformers.Olmo2Config, LLAMA, MODEL, "lm_head.weight"),
    "deepseek-v3": Family(transformers.DeepseekV3Config, DEEPSEEK, MODEL, "lm_head.weight"),
    "mamba": Family(
        transformers.MambaConfig,
        {**COMMON, "hidden_size": 32, "state_size": 8, "num_layers": 2},
        "backbone.embeddings.weight",
        "lm_head.weight",
    ),
    # transformers ties every T5; only a file can contradict, see test_tensors.py.
    "t5": Family(transformers.T5Config, T5, "shared.weight", "lm_head.weight", ties=(True,)),
    "bart": Family(
        transformers.BartConfig,
        {**BART, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "max_position_embeddings": 64},
        "model.shared.weight",
        "lm_head.weight",
        others=("final_logits_bias",),
        untied=("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"),
        dims={"final_logits_bias": 1},
    ),
}
CASES = [
    pytest.param(family, tie, dtype, shards, id=f"{family}-{'tied' if tie else 'untied'}-{name}")
    for number, family in enumerate(FAMILIES)
    for tie in FAMILIES[family].ties
    # Each family once with either dtype and once with either layout; the four do not depend on one another.
    for dtype, name, shards in [
        [(torch.float32, "fp32-single", None), (torch.bfloat16, "bf16-sharded", "6KB")][(number + tie) % 2]
    ]
]


def _build(family: Family, tie: bool, dtype: torch.dtype) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    config = family.config(**family.sizes, tie_word_embeddings=tie)
    auto = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    model = auto.from_config(config).to(dtype)
    with torch.no_grad():
        for tensor in [*model.parameters(), *(b for n, b in model.named_buffers() if n == "final_logits_bias")]:
            tensor.normal_(0, 0.02)
    return model


@pytest.mark.parametrize(("name", "tie", "dtype", "shards"), CASES)
def test_families(tmp_path, name, tie, dtype, shards):
    family = FAMILIES[name]
    model = _build(family, tie, dtype)
    model.save_pretrained(tmp_path, **({} if shards is None else {"max_shard_size": shards}))
    source = Checkpoint.open(tmp_path)
    assert len(source.files) > 1 or shards is None
    head = None if tie else family.head
    others = family.others if tie else family.untied + family.others
    found = source.vocabulary_tensors()
    dims = dict.fromkeys([family.input, *([head] if head else []), *others], 0) | family.dims
    assert found == VocabularyTensors(family.input, head, others, tie, (), dims)
    assert torch.equal(source.input_table(), model.get_input_embeddings().weight)
    assert source.input_table().dtype == dtype
    if head is not None:
        assert torch.equal(source.read(head), model.get_output_embeddings().weight)
    sized = {key for key, info in source.tensors.items() if ROWS in info.shape}
    assert sized == {key for key in found.names if source.tensors[key].shape[found.dims[key]] == ROWS}


def _old_file(folder: Path, model: transformers.PreTrainedModel, removed: str = "") -> VocabularyTensors:
    """Saves a model the old way, with every tied tensor under all its names."""
    model.config.save_pretrained(folder)
    state = {name.removeprefix(removed): tensor.detach() for name, tensor in model.state_dict().items()}
    torch.save(state, folder / "pytorch_model.bin")
    return Checkpoint.open(folder).vocabulary_tensors()


@pytest.mark.parametrize(
    ("name", "removed", "table", "duplicates"),
    [
        ("gpt2", "", "transformer.wte.weight", {"lm_head.weight"}),
        ("gpt2", "transformer.", "wte.weight", {"lm_head.weight"}),
        ("t5", "", "shared.weight", {"encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"}),
        (
            "bart",
            "",
            "model.shared.weight",
            {"model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight"},
        ),
    ],
)
def test_old_files_with_duplicates(tmp_path, name, removed, table, duplicates):
    found = _old_file(tmp_path, _build(FAMILIES[name], tie=True, dtype=torch.float16), removed)
    assert (found.input, found.head, found.tied) == (table, None, True)
    assert set(found.duplicates) == duplicates
    assert found.others == FAMILIES[name].others


def test_keys_without_the_rules_of_transformers(tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "get_model_conversion_mapping", None)
    model = _build(FAMILIES["phi"], tie=False, dtype=torch.float32)
    found = _old_file(tmp_path, model)
    assert found.names == ("model.embed_tokens.weight", "lm_head.weight", "lm_head.bias")
