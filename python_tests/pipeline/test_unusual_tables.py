"""Tables that are not one row a token: rows behind the vocabulary, a second input table, numbers looked up by token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

import salt_ext
from salt_ext.pair.source_tables import looked_up
from salt_ext.plan import Provenance, TransferPlan

_SIZE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
_SIZE |= {"num_key_value_heads": 2, "max_position_embeddings": 64}
_MLLAMA = _SIZE | {"cross_attention_layers": [1], "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
_EXTRA = 8  # rows that transformers gives every Mllama
_IMAGE = "<|image|>"


def _drawn(model: Any) -> Any:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model.eval()


def _save(model: Any, folder: Path, tokenizer: Any) -> Path:
    _drawn(model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _ids(tokenizer: Any) -> dict[str, int]:
    return {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos")}


@pytest.fixture
def with_image(source_tokenizer, tmp_path) -> Any:
    """The tokenizer with a token behind the vocabulary."""
    source_tokenizer.save_pretrained(tmp_path / "tokenizer")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "tokenizer")
    tokenizer.add_special_tokens({"additional_special_tokens": [_IMAGE]})
    assert tokenizer.convert_tokens_to_ids(_IMAGE) == len(source_tokenizer)
    return tokenizer


@pytest.mark.parametrize("multiple", [None, 64])
def test_rows_behind_the_vocabulary_follow_its_end(with_image, donor, tmp_path, multiple):
    tokens = len(with_image) - 1
    config = transformers.models.mllama.MllamaTextConfig(
        **_MLLAMA, **_ids(with_image), vocab_size=tokens, pad_token_id=0
    )
    source = _save(transformers.MllamaForCausalLM(config), tmp_path / "source", with_image)
    result = salt_ext.transfer(source, donor, tmp_path / "out", pad_to_multiple_of=multiple)
    before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "out"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    rows = len(tokenizer) if multiple is None else -(-len(tokenizer) // 64) * 64
    old, new = before["model.embed_tokens.weight"], after["model.embed_tokens.weight"]
    assert (len(old), len(new)) == (tokens + _EXTRA, rows + _EXTRA)
    assert torch.equal(new[rows:], old[tokens:])
    image = tokenizer.convert_tokens_to_ids(_IMAGE)
    assert image < rows
    assert torch.equal(new[image], old[tokens])
    head, made = before["lm_head.weight"], after["lm_head.weight"]
    assert (len(head), len(made)) == (tokens, rows)
    # The source cannot write it; here it is as likely as the average token.
    torch.testing.assert_close(made[image], head.mean(0))
    shared = {token: number for token, number in tokenizer.get_vocab().items() if token in with_image.get_vocab()}
    assert len(shared) > 200
    for token, number in shared.items():
        assert torch.equal(new[number], old[with_image.convert_tokens_to_ids(token)]), token
    assert "bit-equal" in result.report["checks"][-1]
    assert transformers.MllamaForCausalLM.from_pretrained(tmp_path / "out").config.vocab_size == rows


def test_an_id_behind_the_vocabulary_without_a_token(source_tokenizer, donor, tmp_path):
    tokens = len(source_tokenizer)
    vision = {"hidden_size": 32, "num_hidden_layers": 1, "num_global_layers": 1, "attention_heads": 4}
    vision |= {"image_size": 28, "patch_size": 14, "vision_output_dim": 64, "intermediate_layers_indices": [0]}
    text = _MLLAMA | _ids(source_tokenizer) | {"vocab_size": tokens, "pad_token_id": 0}
    config = transformers.MllamaConfig(text_config=text, vision_config=vision, image_token_index=tokens + 3)
    source = _save(transformers.MllamaForConditionalGeneration(config), tmp_path / "source", source_tokenizer)
    salt_ext.transfer(source, donor, tmp_path / "out")
    model = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "out")
    table, rows = model.get_input_embeddings().weight, model.config.text_config.vocab_size
    assert len(table) == rows + _EXTRA
    assert model.config.image_token_index == rows + 3
    old = transformers.AutoModelForImageTextToText.from_pretrained(source).get_input_embeddings().weight
    assert torch.equal(table[rows + 3], old[tokens + 3])


def test_a_head_that_is_tied_to_the_decoders_table(source_tokenizer, donor, tmp_path):
    side = _SIZE | _ids(source_tokenizer) | {"vocab_size": 440, "head_dim": 8, "pad_token_id": 0}
    config = transformers.T5GemmaConfig(encoder=dict(side), decoder=dict(side), vocab_size=440)
    source = _save(transformers.T5GemmaForConditionalGeneration(config), tmp_path / "source", source_tokenizer)
    salt_ext.transfer(source, donor, tmp_path / "out")
    before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "out"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    shared = sorted(source_tokenizer.get_vocab().keys() & tokenizer.get_vocab().keys())
    old, new = (torch.tensor(one.convert_tokens_to_ids(shared)) for one in (source_tokenizer, tokenizer))
    tables = {f"model.{side}.embed_tokens.weight" for side in ("encoder", "decoder")}
    assert tables == {key for key in after if after[key].shape != before[key].shape}
    for key in tables:
        assert torch.equal(after[key][new], before[key][old])
    made, given = (
        transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval() for folder in (tmp_path / "out", source)
    )
    assert made.get_output_embeddings().weight is made.get_decoder().embed_tokens.weight
    with torch.no_grad():
        logits, expected = (
            model(input_ids=ids[None, :12], decoder_input_ids=ids[None, 3:9]).logits[0][:, ids]
            for model, ids in ((made, new), (given, old))
        )
    torch.testing.assert_close(logits, expected)


def test_numbers_that_are_looked_up_by_token(source_tokenizer, donor, tmp_path):
    if not hasattr(transformers, "DeepseekV4Config"):
        pytest.skip("this transformers has no such family")
    tokens, rows = len(source_tokenizer), len(source_tokenizer) + 20
    config = transformers.DeepseekV4Config(
        **_SIZE | {"num_key_value_heads": 1}, **_ids(source_tokenizer), vocab_size=rows, head_dim=16,
        moe_intermediate_size=16, n_routed_experts=6, num_experts_per_tok=2, q_lora_rank=16, o_lora_rank=16,
        o_groups=2, index_n_heads=2, index_head_dim=8, num_nextn_predict_layers=0,
    )  # fmt: skip
    model = transformers.DeepseekV4ForCausalLM(config)
    tables = {name: buffer for name, buffer in model.named_buffers() if name.endswith("tid2eid")}
    assert tables
    for table in tables.values():
        table.copy_(torch.stack([torch.randperm(6)[:2] for _ in range(rows)]))
    source = _save(model, tmp_path / "source", source_tokenizer)
    result = salt_ext.transfer(source, donor, tmp_path / "out")
    before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "out"))
    names = [key for key in before if key.endswith("tid2eid")]
    assert len(names) == len(tables)
    plan, kinds = result.plan, result.plan.provenance
    assert {Provenance.COPIED, Provenance.REGRESSED} <= set(kinds.tolist())
    for key in names:
        assert after[key].dtype == torch.int64
        for row in range(plan.target_rows):
            entries = plan.explain(row)
            expected = entries[0][0] if entries else row % tokens
            assert torch.equal(after[key][row], before[key][expected]), (key, row)
    assert "bit-equal" in result.report["checks"][-1]


def test_the_heaviest_source_token_gives_the_number():
    """By magnitude; of equal ones the lowest id; a row without weights by its own id."""
    kinds = [Provenance.REGRESSED, Provenance.REGRESSED, Provenance.COPIED, Provenance.SAMPLED, Provenance.PADDING]
    plan = TransferPlan(
        crow_indices=torch.tensor([0, 3, 5, 6, 6, 6]),
        col_indices=torch.tensor([0, 1, 2, 1, 2, 2]),
        values=torch.tensor([0.5, -0.75, 0.5, 0.5, 0.5, 1.0]),
        provenance=torch.tensor(kinds, dtype=torch.uint8),
        residual=torch.tensor([0.1, 0.1, float("nan"), float("nan"), float("nan")]),
        source_rows=3,
        seed=0,
    )
    table = torch.tensor([[10, 11], [20, 21], [30, 31], [99, 99]], dtype=torch.int32)
    made = looked_up(plan, table)
    assert made.dtype == torch.int32
    assert made.tolist() == [[20, 21], [20, 21], [30, 31], [10, 11], [20, 21]]
