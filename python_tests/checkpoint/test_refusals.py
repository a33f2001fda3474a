"""Models that cannot be moved, or not as they lie there, and the true reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from salt_ext.checkpoint import Checkpoint
from salt_ext.errors import InputError

_SIDE = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
_SIDE |= {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "d_model": 16, "max_position_embeddings": 32}
_IDS = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 1}


def _marian(folder: Path, **options: object) -> Path:
    config = transformers.MarianConfig(**_SIDE, **_IDS, vocab_size=64, **options)
    transformers.MarianMTModel(config).save_pretrained(folder)
    return folder


def test_two_vocabularies(tmp_path):
    fsmt = transformers.FSMTConfig(langs=["en", "de"], src_vocab_size=64, tgt_vocab_size=64, **_SIDE, **_IDS)
    transformers.FSMTForConditionalGeneration(fsmt).save_pretrained(tmp_path / "fsmt")
    sides = [
        transformers.BertConfig(vocab_size=rows, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
        for rows in (64, 48)
    ]
    pair = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(*sides)
    transformers.EncoderDecoderModel(pair).save_pretrained(tmp_path / "pair")
    _marian(tmp_path / "marian", decoder_vocab_size=48, share_encoder_decoder_embeddings=False)
    for name, reads, writes in (("fsmt", 64, 64), ("pair", 64, 48), ("marian", 64, 48)):
        with pytest.raises(InputError, match=rf"has two vocabularies.*\({reads} tokens\).*\({writes}\).*M2M100"):
            Checkpoint.open(tmp_path / name)


def test_two_tokenizers(tmp_path):
    folder = _marian(tmp_path / "marian")
    assert Checkpoint.open(folder).vocabulary_tensors().tied
    for name in ("source.spm", "target.spm"):
        (folder / name).touch()
    with pytest.raises(InputError, match=r"type 'marian' cuts .* with two tokenizers \(source.spm, target.spm\)"):
        Checkpoint.open(folder)
    # As a donor its table is read with whatever tokenizer comes with it.
    assert Checkpoint.open(folder, what="donor", only_input=True).rows == 64
    (folder / "tokenizer.json").touch()
    assert Checkpoint.open(folder).rows == 64


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("options", [{}, {"max_shard_size": "20KB"}], ids=["single", "sharded"])
def test_keys_of_a_wrapped_model(make_checkpoint, prefix, options):
    folder, _ = make_checkpoint("llama-tied", **options)
    for file in folder.glob("*.safetensors"):
        save_file({prefix + key: tensor for key, tensor in load_file(file).items()}, file, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    if index.exists():
        stated = json.loads(index.read_text())
        stated["weight_map"] = {prefix + key: name for key, name in stated["weight_map"].items()}
        index.write_text(json.dumps(stated))
    message = rf"every key begins with '{prefix}'.*model\.{prefix}save_pretrained"
    with pytest.raises(InputError, match=message):
        Checkpoint.open(folder).vocabulary_tensors()
    with pytest.raises(InputError, match=message):
        _ = Checkpoint.open(folder, what="donor", only_input=True).rows


def test_a_head_that_only_a_part_has_an_accessor_for(tmp_path):
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = vision | {"vocab_size": 64, "encoder_hidden_size": 16, "pad_token_id": 0, "bos_token_id": 1}
    text |= {"sep_token_id": 2, "eos_token_id": 2}
    config = transformers.BlipConfig(text_config=text, vision_config=vision | {"image_size": 28, "patch_size": 14})
    torch.manual_seed(0)
    model = transformers.BlipForConditionalGeneration(config)
    assert model.get_output_embeddings() is None
    model.save_pretrained(tmp_path)
    found = Checkpoint.open(tmp_path).vocabulary_tensors()
    sized = {key for key, tensor in load_file(tmp_path / "model.safetensors").items() if 64 in tensor.shape}
    assert set(found.names) == sized
    assert found.input == "text_decoder.bert.embeddings.word_embeddings.weight"
