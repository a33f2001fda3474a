"""The configuration of any class of transformers, made small by the names of its numbers."""

from __future__ import annotations

import re
from typing import Any

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

# The first pattern that fits a key gives its number; what fits none stays.
_SIZES: list[tuple[str, int]] = [
    (r"vocab_size_per_layer_input", 0),
    (r".*(audio|codec|codebook|semantic|coarse|fine|talker|speech|image|vq|entity).*vocab_size.*", 40),
    (r"(text_|decoder_|unpadded_|padded_)?vocab_size|n_vocab|(src|tgt)_vocab_size", 0),
    (r"additional_vocab_size", 2),
    (r"max_position_embeddings|n_positions|max_seq_len(gth)?|seq_length|n_ctx|max_(source|target)_positions", 128),
    (r"(max_)?(en|de)coder_position_embeddings|(en|de)coder_max_.*position.*", 128),
    (r"sliding_window|attention_chunk_size|window_size|attention_window|block_size|local_attention|chunk_size", 16),
    (r"head_dim|qk_(rope|nope)_head_dim|v_head_dim|d_kv|global_head_dim|.*_head_dim|rotary_dim|d_head|kv_channels", 8),
    (r"(num_)?(key_value|kv)_heads|num_key_value_heads|.*_num_key_value_heads|n_kv_heads", 2),
    (r"mamba_(n|num)_heads", 8),
    (r".*(attention_heads|num_heads|n_heads?|num_v_heads|num_k_heads|_heads)", 4),
    (r".*(num_hidden_layers|num_layers|n_layers?|encoder_layers|decoder_layers|depth|num_blocks|_layers)", 2),
    (r"first_k_dense_replace|num_dense_layers|n_hash_layers|num_kv_shared_layers|num_nextn_predict_layers", 1),
    (r"(n_group|topk_group|n_groups|num_expert_groups?)", 1),
    (r".*(num_experts_per_tok(en)?|top_?k|moe_k|num_selected_experts|experts_per_tok.*|moe_topk)", 2),
    (r".*(shared_experts?|n_shared_experts)", 1),
    (r".*(experts|num_local_experts|moe_num_.*)", 4),
    (r".*(intermediate_size|ffn_dim|d_ff|n_inner|inner_dim|ffn_hidden_size|mlp_dim|_ffn_.*size)", 64),
    (r".*(lora_rank|_rank|_lora_dim)", 16),
    (r".*(hidden_size_per_layer_input|laurel_rank)", 8),
    (r".*(hidden_size|d_model|n_embd|embed_dim|hidden_dim|embedding_size|proj_dim|output_dim|width)", 32),
    (r"emb_dim|projection_dim|d_embed|dim", 32),
    (r".*(state_size|d_state|ssm_state_size)", 8),
    (r".*image_size", 28),
    (r".*patch_size", 14),
    (r".*(num_mel_bins|n_mels)", 8),
    (r"mm_tokens_per_image|image_seq_len(gth)?|num_image_tokens|num_query_tokens", 4),
    (r"expand|mamba_expand", 2),
]
# What the names do not say.
_OVERRIDES: dict[str, dict[str, Any]] = {
    "dory": {"n_input_layers": 1, "n_recurrent_layers": 1, "n_output_layers": 1, "num_hidden_layers": 3},
    "gemma4_assistant": {"text_config.hidden_size_per_layer_input": 0},
    "bamba": {"mamba_d_head": 8},
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_d_head": 8},
    "granitemoehybrid": {"mamba_d_head": 8},
    "glm5_next": {"text_config.num_key_value_heads": 4, "text_config.index_topk": 16},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "mamba2": {"num_heads": 8, "n_groups": 1},
    "molmo2": {"adapter_config.vision_feature_layer": [0, 1]},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {"axial_pos_embds": False},
    "xmod": {"default_language": "en_XX"},
}
# What may be left out, and is then made of numbers that are not.
_FILLED = {"head_dim": 8, "num_key_value_heads": 4, "num_attention_heads": 4}
_TEXT_IDS = ("bos", "eos", "pad", "unk", "cls", "sep", "mask", "decoder_start", "forced_bos", "forced_eos")


def small_config(model_type: str, cls: Any, *, rows: int, ids: dict[str, int], image: int) -> Any:
    """A small configuration of a type.

    Args:
        model_type: a key of transformers' own table.
        cls: the class of model; its configuration may be a part of the type's.
        rows: the size of the text's vocabulary.
        ids: of the special tokens by role (bos, eos, pad).
        image: the id that every placeholder of images and sounds gets.
    """
    made = cls.config_class or CONFIG_MAPPING[model_type]
    default = made().to_dict()
    small = _small(default, rows, ids, image)
    if re.fullmatch(r"(qwen2|glm4|paddleocr|hunyuan).*(v|vl|v_moe|thinker)|glm_ocr|glmga", model_type):
        _cut_sections(small)
    for key, value in _OVERRIDES.get(model_type, {}).items():
        part = small
        *path, last = key.split(".")
        for name in path:
            part = part[name]
        part[last] = value
    return made.from_dict(small)


def _cut_sections(config: dict[str, Any]) -> None:
    """Positions in time, height and width share a head's dimensions."""
    part = next((config[key] for key in ("text_config", "thinker_config") if isinstance(config.get(key), dict)), config)
    given = part.get("rope_parameters") or {"rope_type": "default", "rope_theta": 10000.0}
    part["rope_parameters"] = given | {"mrope_section": [2, 1, 1]}


def _small(part: dict[str, Any], rows: int, ids: dict[str, int], image: int) -> dict[str, Any]:
    small: dict[str, Any] = {}
    shrunk: dict[int, int] = {}
    for key, value in part.items():
        if isinstance(value, dict) and value and all(str(layer).isdigit() for layer in value):
            small[key] = {layer: said for layer, said in value.items() if int(layer) < 2}
        elif isinstance(value, dict) and not re.fullmatch(r"id2label|label2id", key):
            small[key] = _small(value, rows, ids, image)
        elif isinstance(value, int) and not isinstance(value, bool):
            small[key] = _number(key, value, rows, ids, image)
            if small[key] == 2 and value > 2:
                shrunk[value] = 2
        elif re.fullmatch(r"(bos|eos|pad|decoder_start)_token_id", key):
            small[key] = _token(key, ids)
        elif value is None and key in _FILLED:
            small[key] = _FILLED[key]
        elif key == "partial_rotary_factor" and value is not None:
            small[key] = 1.0
        elif key == "mrope_section":
            small[key] = [2, 1, 1]
        else:
            small[key] = value
    for key, value in small.items():
        # What is said of each layer.
        if isinstance(value, list) and len(value) in shrunk and shrunk[len(value)] == 2:
            small[key] = [value[0], next((other for other in value if other != value[0]), value[-1])]
    _fit_heads(small)
    return small


def _number(key: str, value: int, rows: int, ids: dict[str, int], image: int) -> int:
    if re.fullmatch(r".*_token_(id|index)|image_token|video_token|.*_index", key) and value >= 0:
        return _token(key, ids) if key.startswith(_TEXT_IDS) else image
    for pattern, size in _SIZES:
        if re.fullmatch(pattern, key):
            # No number grows; a vocabulary, whatever its default, is the tokenizer's.
            return rows if size == 0 else min(value, size) if value > 0 else value
    return value


def _token(key: str, ids: dict[str, int]) -> int:
    role = next(role for role in _TEXT_IDS if key.startswith(role))
    return ids.get(role, ids["eos" if "eos" in role else "pad" if role in ("pad", "decoder_start") else "bos"])


def _fit_heads(part: dict[str, Any]) -> None:
    """Heads that divide the width; as many of keys and values where one latent vector makes them all."""
    if isinstance(part.get("kv_lora_rank"), int) and "num_key_value_heads" in part:
        part["num_key_value_heads"] = part["num_attention_heads"]
    width, heads = part.get("hidden_size"), part.get("num_attention_heads")
    if isinstance(width, int) and isinstance(heads, int) and heads and width % heads:
        part["num_attention_heads"] = next(n for n in (4, 2, 1) if width % n == 0)


def classes() -> list[tuple[str, str]]:
    """(model type, class name) of all causal, sequence-to-sequence and image-text-to-text classes, in order."""
    auto = transformers.models.auto.modeling_auto
    found = []
    for table in ("CAUSAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "IMAGE_TEXT_TO_TEXT"):
        for model_type, name in getattr(auto, f"MODEL_FOR_{table}_MAPPING_NAMES", {}).items():
            found += [(model_type, one) for one in ([name] if isinstance(name, str) else name)]
    return [pair for pair in dict.fromkeys(found) if pair[0] in CONFIG_MAPPING]
