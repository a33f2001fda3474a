"""config.json: the new size wherever the text's is stated, everything else untouched."""

from __future__ import annotations

import copy
import json

import pytest
import transformers

from salt_ext.checkpoint import config_rows, reserved_rows, resized_config

OTHER = {"vocab_size": 8}  # of a part that is not the text's


@pytest.mark.parametrize(
    ("config", "changed"),
    [
        ({"model_type": "llama", "vocab_size": 100, "bos_token_id": 1, "dtype": "bfloat16"}, {"vocab_size": 50}),
        # The size was left to the class's default.
        ({"model_type": "llama", "hidden_size": 32}, {"vocab_size": 50}),
        ({"model_type": "xlm", "n_words": 100}, {"n_words": 50}),
        ({"model_type": "gemma3n_text", "vocab_size": 100}, {"vocab_size": 50, "vocab_size_per_layer_input": 50}),
        (
            {"model_type": "marian", "vocab_size": 100, "decoder_vocab_size": 100},
            {"vocab_size": 50, "decoder_vocab_size": 50},
        ),
        ({"model_type": "no-such-model", "vocab_size": 100, "codebook_vocab_size": 100}, {"vocab_size": 50}),
        (
            {"model_type": "no-such-model", "vocab_size": 100, "padded_vocab_size": 104},
            {"vocab_size": 50, "padded_vocab_size": 50},
        ),
        # A size that the class refuses must not stop the rest.
        ({"model_type": "llama", "vocab_size": 100, "hidden_size": "wide"}, {"vocab_size": 50}),
    ],
)
def test_flat_configurations(config, changed):
    before = copy.deepcopy(config)
    updated = resized_config(config, rows=50)
    assert updated == before | changed
    assert config == before
    assert config_rows(updated) == 50


@pytest.mark.parametrize(
    ("config", "changed"),
    [
        (
            {"model_type": "gemma3", "text_config": {"hidden_size": 32}, "vision_config": {"vocab_size": 3}},
            {"text_config": {"hidden_size": 32, "vocab_size": 50}},
        ),
        (
            {"model_type": "llava", "vocab_size": 100, "text_config": {"model_type": "llama", "vocab_size": 100}},
            {"vocab_size": 50, "text_config": {"model_type": "llama", "vocab_size": 50}},
        ),
        # Older files of this family keep the text's keys at the top.
        ({"model_type": "qwen2_vl", "vocab_size": 100, "hidden_size": 32}, {"vocab_size": 50}),
        (
            {
                "model_type": "qwen2_5_omni",
                "thinker_config": {"text_config": {"vocab_size": 100}},
                "talker_config": OTHER,
            },
            {"thinker_config": {"text_config": {"vocab_size": 50}}},
        ),
        (
            {"model_type": "t5gemma", "vocab_size": 9, "encoder": {"vocab_size": 9}, "decoder": {"vocab_size": 9}},
            {"vocab_size": 50, "encoder": {"vocab_size": 50}, "decoder": {"vocab_size": 50}},
        ),
        (
            {"model_type": "unknown", "llm_config": {"vocab_size": 9}, "vision_config": OTHER, "vocab_size": 9},
            {"llm_config": {"vocab_size": 50}, "vocab_size": 50},
        ),
        (
            {"model_type": "unknown", "encoder": {"patch_size": 4}, "decoder": {"vocab_size": 9}, "vocab_size": 3},
            {"decoder": {"vocab_size": 50}},
        ),
        (
            {"model_type": "no-such-model", "text_config": {"hidden_size": 8}, "vocab_size": 9},
            {"text_config": {"hidden_size": 8, "vocab_size": 50}, "vocab_size": 50},
        ),
    ],
)
def test_nested_configurations(config, changed):
    before = copy.deepcopy(config)
    updated = resized_config(config, rows=50)
    assert updated == before | changed
    assert config == before
    assert config_rows(updated) == 50


def test_what_transformers_reads():
    config = json.loads(transformers.Gemma3Config(boi_token_index=7).to_json_string(use_diff=False))
    made = transformers.Gemma3Config.from_dict(resized_config(config, rows=50))
    assert made.get_text_config().vocab_size == 50
    assert made.boi_token_index == 7


def test_soft_tokens_stay_behind_the_text():
    config = {
        "model_type": "gemma3n",
        "text_config": {"vocab_size": 400, "vocab_size_per_layer_input": 300},
        "vision_config": {"vocab_size": 64, "vocab_offset": 300},
        "audio_config": {"vocab_size": 36, "vocab_offset": 364},
    }
    assert reserved_rows(config) == 100
    assert resized_config(config, rows=1000) == {
        "model_type": "gemma3n",
        "text_config": {"vocab_size": 1000, "vocab_size_per_layer_input": 1000},
        "vision_config": {"vocab_size": 64, "vocab_offset": 900},
        "audio_config": {"vocab_size": 36, "vocab_offset": 964},
    }
    # The family's own sizes: 262,400 rows, of which the last 256 are soft tokens.
    config = json.loads(transformers.Gemma3nConfig().to_json_string(use_diff=False))
    assert reserved_rows(config) == 256
    moved = transformers.Gemma3nConfig.from_dict(resized_config(config, rows=1000))
    assert moved.vision_config.vocab_offset == 744
    assert moved.audio_config.vocab_offset == 872
    for part in ("text_config", "vision_config", "audio_config"):
        config[part] = {}
    assert resized_config(config, rows=1000)["vision_config"] == {"vocab_offset": 744}


@pytest.mark.parametrize("config", [{"model_type": "llama"}, {"model_type": "gemma3"}, {"model_type": "no-such-model"}])
def test_most_families_reserve_nothing(config):
    assert reserved_rows(config) == 0
