"""Token ids in configurations: every one that speaks of text, and no other."""

from __future__ import annotations

import copy
import json

import pytest
import torch
import transformers
from factories import make_anchors, make_vocabulary

from salt_ext.errors import InputError
from salt_ext.tokenizer import token_translation, translated_configs
from salt_ext.vocab import Form

TOKENS = {1: 101, 2: 102, 3: 103, 50: 150, 60: 160}


def translated(config, generation=None, pad=7):
    return translated_configs(config, generation, tokens=TOKENS, pad=pad)


def test_all_nested_parts() -> None:
    config = {
        "model_type": "gemma3",
        "eos_token_id": [1, 2],
        "image_token_index": 50,
        "boi_token_index": 60,
        "vocab_size": 1,
        "hidden_size": 2,
        "text_config": {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 3, "num_hidden_layers": 1},
        "vision_config": {"bos_token_id": 1, "pad_token_id": 3},
        "audio_config": {"eos_token_id": 1, "nested": {"pad_token_id": 2}},
        "codec_eos_token_id": 1,
        "parts": [{"bos_token_id": 1}, 1],
    }
    before = copy.deepcopy(config)
    found = translated(config)
    assert config == before
    assert found.config == before | {
        "eos_token_id": [101, 102],
        "image_token_index": 150,
        "boi_token_index": 160,
        "text_config": before["text_config"] | {"bos_token_id": 102, "eos_token_id": 101, "pad_token_id": 103},
        "parts": [{"bos_token_id": 101}, 1],
    }
    assert found.generation_config is None
    assert found.warnings == []


def test_every_shape_of_ids() -> None:
    generation = {
        "bos_token_id": None,
        "decoder_start_token_id": 2,
        "forced_bos_token_id": 1,
        "forced_eos_token_id": [1, 2],
        "suppress_tokens": [1, -1, 2],
        "begin_suppress_tokens": [3],
        "forced_decoder_ids": [[1, 50], [2, None], [3, 60]],
        "bad_words_ids": [[1], [2, 3]],
        "sequence_bias": [[[1, 2], -5.0], [[3], 2.5]],
        "lang_to_id": {"<|en|>": 50},
        "max_length": 50,
        "temperature": 1,
        "num_beams": 3,
    }
    found = translated({"image_token_index": -200}, generation)
    assert found.config == {"image_token_index": -200}
    assert found.generation_config == generation | {
        "decoder_start_token_id": 102,
        "forced_bos_token_id": 101,
        "forced_eos_token_id": [101, 102],
        "suppress_tokens": [101, -1, 102],
        "begin_suppress_tokens": [103],
        "forced_decoder_ids": [[1, 150], [2, None], [3, 160]],
        "bad_words_ids": [[101], [102, 103]],
        "sequence_bias": [[[101, 102], -5.0], [[103], 2.5]],
        "lang_to_id": {"<|en|>": 150},
    }


def test_ids_without_a_target() -> None:
    config = {"bos_token_id": 999_999, "eos_token_id": [1, 5, 2], "text_config": {"sep_token_id": 4}}
    generation = {
        "bad_words_ids": [[1], [2, 5]],
        "sequence_bias": [[[1, 5], 1.0], [[1], 2.0]],
        "forced_decoder_ids": [[1, 5], [2, 1]],
    }
    found = translated(config, generation)
    assert found.config == {"bos_token_id": None, "eos_token_id": [101, 102], "text_config": {"sep_token_id": None}}
    assert found.generation_config == {
        "bad_words_ids": [[101]],
        "sequence_bias": [[[101], 2.0]],
        "forced_decoder_ids": [[2, 101]],
    }
    assert found.warnings[0] == (
        "config.json, bos_token_id: the source's token id 999999 has no target token and was taken out"
    )
    places = [warning.partition(":")[0] for warning in found.warnings]
    assert places == [
        "config.json, bos_token_id",
        "config.json, eos_token_id",
        "config.json, text_config, sep_token_id",
        *(f"generation_config.json, {key}" for key in generation),
    ]


def test_configurations_that_take_no_null() -> None:
    """Qwen2-VL's must be numbers, since transformers checks their type; -1 equals no token of a text."""
    given = json.loads(transformers.Qwen2VLConfig().to_json_string(use_diff=False))
    found = translated_configs(given, None, tokens={given["image_token_id"]: 11}, pad=None)
    config = transformers.Qwen2VLConfig.from_dict(found.config)
    assert (config.image_token_id, config.video_token_id) == (11, -1)
    assert translated({"eos_token_id": [5]}).config == {"eos_token_id": None}


def test_a_list_that_takes_no_null_stays_a_list() -> None:
    """Ovis2 marks the parts of an image by the places of this one."""
    given = json.loads(transformers.Ovis2Config().to_json_string(use_diff=False))
    assert len(given["visual_indicator_token_ids"]) > 1
    found = translated_configs(given, None, tokens={}, pad=None)
    config = transformers.Ovis2Config.from_dict(found.config)
    assert config.visual_indicator_token_ids == [-1] * len(given["visual_indicator_token_ids"])


def test_padding_is_set_where_there_is_a_key_for_it() -> None:
    found = translated({"pad_token_id": None, "text_config": {"bos_token_id": None}}, {"eos_token_id": 1})
    assert found.config == {"pad_token_id": 7, "text_config": {"bos_token_id": None}}
    assert found.generation_config == {"eos_token_id": 101}
    assert translated({"pad_token_id": None}, pad=None).config == {"pad_token_id": None}


def test_which_target_token() -> None:
    vocabulary = make_vocabulary([Form(b"a", False)] * 6)
    anchors = make_anchors({0: 4, 1: 1, 2: (4, "special"), 3: 2, 4: 4, 5: (2, "mapped")})
    assert token_translation(anchors, vocabulary, vocabulary) == {4: 2, 1: 1, 2: 5}
    assert token_translation(make_anchors({0: 4, 4: 4}), vocabulary, vocabulary) == {4: 4}


def xglm(pad: int | None) -> transformers.PreTrainedModel:
    config = transformers.XGLMConfig(
        vocab_size=40, d_model=16, ffn_dim=16, num_layers=1, attention_heads=2, max_position_embeddings=32
    )
    config.pad_token_id = pad
    torch.manual_seed(0)
    return transformers.XGLMForCausalLM(config).eval()


@pytest.mark.parametrize("before", [None, 1, 5])
@pytest.mark.parametrize("after", [None, 0, 1, 9, 35])
def test_xglm_keeps_its_positions(before, after) -> None:
    """The model zeroes the position of the padding token's number, or fails where there is no such position."""
    source = xglm(before)
    given = json.loads(source.config.to_json_string(use_diff=False))
    found = translated_configs(given, None, tokens={1: after} if after is not None else {}, pad=after)
    config = transformers.XGLMConfig.from_dict(found.config)
    torch.manual_seed(0)
    model = transformers.XGLMForCausalLM(config).eval()
    model.load_state_dict(source.state_dict())
    ids = torch.arange(2, 22).unsqueeze(0)
    assert torch.equal(model(ids).logits, source(ids).logits)
    where = (found.generation_config or found.config)["pad_token_id"]
    assert where == after or (after is None and where in (None, before))


def test_models_that_count_from_the_padding_token() -> None:
    config = {"model_type": "xlm-roberta", "is_decoder": True, "pad_token_id": 1}
    with pytest.raises(InputError, match=r"xlm-roberta counts positions .* id, 1; the target's .* id 101, expected"):
        translated(config)
    assert translated_configs(config, None, tokens={1: 1}, pad=1).config == config


@pytest.mark.parametrize("name", ["XLMRoberta", "Roberta", "Camembert"])
def test_they_do(name) -> None:
    """Why that is an error: the same weights with another padding id give other hidden states."""
    size = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    results = []
    for pad in (1, 3):
        config = getattr(transformers, f"{name}Config")(**size, intermediate_size=16, is_decoder=True, pad_token_id=pad)
        torch.manual_seed(0)
        model = getattr(transformers, f"{name}ForCausalLM")(config).eval()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(generator=generator)
            results.append(model(torch.arange(4, 12).unsqueeze(0)).logits)
    assert not torch.allclose(*results)
