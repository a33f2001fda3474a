"""config.json and generation_config.json: the new vocabulary in, everything else untouched."""

from __future__ import annotations

import copy

from salt_ext.checkpoint import config_rows, updated_config, updated_generation_config

IDS = {"bos": 7, "eos": [8, 9], "pad": None, "decoder_start_token_id": 3}


def test_plain_configuration():
    config = {"vocab_size": 100, "bos_token_id": 1, "eos_token_id": 2, "dtype": "bfloat16", "nested": {"vocab_size": 5}}
    before = copy.deepcopy(config)
    updated = updated_config(config, rows=50, ids=IDS)
    assert updated == {
        "vocab_size": 50,
        "bos_token_id": 7,
        "eos_token_id": [8, 9],
        "decoder_start_token_id": 3,
        "dtype": "bfloat16",
        "nested": {"vocab_size": 5},
    }
    assert config == before
    assert config_rows(updated) == 50


def test_a_role_that_is_gone_becomes_null_only_where_the_key_exists():
    assert updated_config({"pad_token_id": 3}, rows=9, ids={"pad": None}) == {"pad_token_id": None, "vocab_size": 9}
    assert updated_config({}, rows=9, ids={"pad": None}) == {"vocab_size": 9}


def test_multimodal_configuration():
    config = {"text_config": {"hidden_size": 8}, "vision_config": {"vocab_size": 3}, "eos_token_id": 1}
    updated = updated_config(config, rows=50, ids={"bos": 7, "eos": 8})
    assert updated == {
        "text_config": {"hidden_size": 8, "vocab_size": 50, "bos_token_id": 7, "eos_token_id": 8},
        "vision_config": {"vocab_size": 3},
        "eos_token_id": 8,
    }
    assert config_rows(updated) == 50
    assert config["text_config"] == {"hidden_size": 8}
    assert updated_config(config | {"vocab_size": 100}, rows=50, ids={})["vocab_size"] == 50


def test_generation_configuration():
    assert updated_generation_config(None, ids=IDS) is None
    assert updated_generation_config({"top_p": 0.9, "pad_token_id": 0}, ids=IDS) == {
        "top_p": 0.9,
        "pad_token_id": None,
        "bos_token_id": 7,
        "eos_token_id": [8, 9],
        "decoder_start_token_id": 3,
    }
