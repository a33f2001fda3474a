"""The source's own tokens: trained ones without a chat template, tokens without a row, a padding id that counts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer

import salt_ext
from salt_ext import cli
from salt_ext.errors import InputError
from salt_ext.pair.pair import PairOptions, open_pair
from salt_ext.pair.tables import PairTables
from salt_ext.pipeline.inspection import inspect
from salt_ext.runtime.progress import Clock

from .conftest import SHARED, byte_level, save_model, text_of

TRAINED = ["<|fim_prefix|>", "<|fim_suffix|>", "<extra_id_0>", "__de__"]
UNTRAINED = ["<|fim_pad|>", "<jupyter_start>", "<jupyter_end>"]
FREE = ["<|reserved_0|>", "<|reserved_1|>"]


def table_of(folder: Path) -> torch.Tensor:
    return next(t for n, t in load_file(folder / "model.safetensors").items() if n.endswith("embed_tokens.weight"))


def with_tokens(folder: Path, tokenizer: Any, names: list[str], untrained: list[str], **options: Any) -> Path:
    """A base model with special tokens, those of `untrained` with rows that training never came to."""
    inner = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    inner.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    roles = {"bos_token": "<s>", "eos_token": "</s>"}
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **roles)
    save_model(folder, made, **options)
    tensors = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(7)
    for name, tensor in tensors.items():
        if name.endswith("embed_tokens.weight"):
            ids = made.convert_tokens_to_ids(untrained)
            tensor[ids] = 0.01 * torch.randn(len(ids), tensor.shape[1], generator=generator)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, source_tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("base") / "source"
    return with_tokens(folder, source_tokenizer, [*TRAINED, *UNTRAINED, *FREE], [*UNTRAINED, *FREE])


@pytest.fixture(scope="module")
def donors(tmp_path_factory: pytest.TempPathFactory, donor, encoder_donor) -> dict[str, Path]:
    return {"byte-level": donor, "WordPiece": encoder_donor}


@pytest.mark.parametrize("kind", ["byte-level", "WordPiece"])
def test_trained_tokens_of_a_base_model_are_kept(base, donors, kind, tmp_path, capsys) -> None:
    """With their rows; what is dropped is named by both commands and the report."""
    assert (
        cli.run(
            [
                "transfer",
                str(base),
                str(donors[kind]),
                "-o",
                str(tmp_path / "out"),
                "--method",
                "salt",
                "--ridge",
                "0.1",
            ]
        )
        == 0
    )
    printed = " ".join(capsys.readouterr().out.split())
    assert cli.run(["inspect", str(base), str(donors[kind])]) == 0
    inspected = " ".join(capsys.readouterr().out.split())
    new, old = (transformers.AutoTokenizer.from_pretrained(folder) for folder in (tmp_path / "out", base))
    assert [token for token in (*TRAINED, *UNTRAINED, *FREE) if token in new.get_vocab()] == TRAINED
    assert all(
        new.encode(f"an{token}en", add_special_tokens=False).count(new.convert_tokens_to_ids(token)) == 1
        for token in TRAINED
    )
    rows, originals = table_of(tmp_path / "out"), table_of(base)
    assert torch.equal(rows[new.convert_tokens_to_ids(TRAINED)], originals[old.convert_tokens_to_ids(TRAINED)])
    left_out = json.loads((tmp_path / "out" / "salt_report.json").read_text())["tokenizer"]["left_out"]
    named = {token: reason for reason, tokens in left_out.items() for _, token in tokens}
    assert {token: named[token] for token in (*UNTRAINED, *FREE)} == dict.fromkeys(
        UNTRAINED, "their rows were never trained"
    ) | dict.fromkeys(FREE, "their places were kept free")
    for text in (printed, inspected):
        assert all(repr(token) in text for token in (*UNTRAINED, *FREE))


def test_what_the_configuration_uses_is_kept(base, donor, tmp_path) -> None:
    """Even a place that was kept free, or one that no training came to: the model's own program writes it."""
    source = Path(shutil.copytree(base, tmp_path / "source"))
    old = transformers.AutoTokenizer.from_pretrained(source)
    used = ["<|fim_pad|>", "<|reserved_1|>"]
    config = json.loads((source / "config.json").read_text())
    config |= {"image_token_id": old.convert_tokens_to_ids(used[0])}
    (source / "config.json").write_text(json.dumps(config))
    ends = old.convert_tokens_to_ids(["</s>", used[1]])
    (source / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}))
    result = salt_ext.transfer(source, donor, tmp_path / "out", method="mean")
    new = transformers.AutoTokenizer.from_pretrained(result.output)
    assert set(used) <= set(new.get_vocab())
    assert "<|reserved_0|>" not in new.get_vocab()
    generation = json.loads((result.output / "generation_config.json").read_text())
    assert generation["eos_token_id"] == new.convert_tokens_to_ids(["</s>", used[1]])
    config = json.loads((result.output / "config.json").read_text())
    assert config["image_token_id"] == new.convert_tokens_to_ids(used[0])


@pytest.mark.parametrize(("keep", "expected"), [(True, [*TRAINED, *UNTRAINED]), (False, []), (None, TRAINED)])
def test_the_user_may_say_otherwise(base, donor, keep, expected) -> None:
    options = PairOptions(keep_markers=keep)
    target = inspect(base, donor, options=options).pair.target
    assert [target.vocabulary.tokens[number] for number in target.added] == expected
    every = {number for ids in target.left_out.values() for number in ids}
    assert len(every) == len([*TRAINED, *UNTRAINED, *FREE]) - len(expected)


def beyond(folder: Path, name: str, **flags: bool) -> int:
    """Adds a token behind the table of a model, as a class of transformers does that has it by default."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    tokenizer.add_tokens([AddedToken(f"<|filler_{n}|>", special=False) for n in range(rows - len(tokenizer))])
    tokenizer.add_tokens([AddedToken(name, **flags)])
    tokenizer.save_pretrained(folder)
    return rows


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("which", ["source", "donor"])
def test_tokens_without_a_row_are_left_out(which, special, source, encoder_donor, copy_of, tmp_path) -> None:
    folders = {"source": copy_of(source), "donor": copy_of(encoder_donor)}
    rows = beyond(folders[which], "<|phantom|>", special=special)
    result = salt_ext.transfer(folders["source"], folders["donor"], tmp_path / "out", method="mean")
    assert "<|phantom|>" not in transformers.AutoTokenizer.from_pretrained(result.output).get_vocab()
    found = [warning for warning in result.report["warnings"] if "<|phantom|>" in warning]
    assert len(found) == 1
    assert found[0].startswith(f"{which}: its table of {rows} rows has none for 1 of its tokenizer's added tokens")
    assert f"'<|phantom|>' (#{rows})" in found[0]


def test_a_role_that_is_played_by_a_token_without_a_row(source, donor, copy_of, tmp_path) -> None:
    """As Qwen2's class does it: the padding token is there by default, and the donor's own is taken."""
    folder = copy_of(source)
    beyond(folder, "<|phantom|>", special=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = "<|phantom|>"
    tokenizer.save_pretrained(folder)
    result = salt_ext.transfer(folder, donor, tmp_path / "out", method="mean")
    assert transformers.AutoTokenizer.from_pretrained(result.output).pad_token == "<pad>"


def test_qwen2_adds_a_token_to_every_tokenizer(source_tokenizer, donor, tmp_path) -> None:
    config = transformers.Qwen2Config(
        vocab_size=len(source_tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        bos_token_id=0,
        eos_token_id=1,
    )
    transformers.Qwen2ForCausalLM(config).save_pretrained(tmp_path / "source")
    source_tokenizer.save_pretrained(tmp_path / "source")
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path / "source")
    result = salt_ext.transfer(tmp_path / "source", donor, tmp_path / "out", method="mean")
    phantoms = set(opened.get_vocab()) - set(source_tokenizer.get_vocab())
    assert all(any(f"{token!r} (#" in warning for warning in result.report["warnings"]) for token in phantoms)


def test_a_token_without_a_row_around_every_text(source, donor, copy_of, tmp_path) -> None:
    folder = copy_of(source)
    rows = beyond(folder, "<|phantom|>", special=True)
    file = folder / "tokenizer.json"
    definition = json.loads(file.read_text())
    definition["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|phantom|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<|phantom|>": {"id": "<|phantom|>", "ids": [rows], "tokens": ["<|phantom|>"]}},
    }
    file.write_text(json.dumps(definition))
    with pytest.raises(InputError, match=rf"puts '<\|phantom\|>' \(#{rows}\) around every text"):
        salt_ext.transfer(folder, donor, tmp_path / "out")


def counting(folder: Path, tokenizer: Any, pad: str) -> Path:
    """A decoder that counts positions from its padding token's id."""
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=40,
        is_decoder=True,
        pad_token_id=tokenizer.convert_tokens_to_ids(pad),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(5)
    model = transformers.RobertaForCausalLM(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def counting_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>"}
    tokenizer = byte_level(text_of(SHARED, 1), 420, special)
    return counting(tmp_path_factory.mktemp("counting") / "source", tokenizer, "<pad>")


@pytest.mark.parametrize("kind", ["byte-level", "WordPiece"])
def test_positions_stay_where_padding_counts(counting_source, donors, kind, tmp_path) -> None:
    """Two anchored texts, one of them padded: hidden states equal the source's in every place."""
    result = salt_ext.transfer(
        counting_source, donors[kind], tmp_path / "out", method="salt", method_options={"ridge": 0.1}
    )
    new, old = (transformers.AutoTokenizer.from_pretrained(folder) for folder in (result.output, counting_source))
    assert new.pad_token_id == old.pad_token_id == 1
    assert json.loads((result.output / "config.json").read_text())["pad_token_id"] == 1
    target_ids, source_ids = result.plan.copies()
    target_ids, source_ids = target_ids[-16:], source_ids[-16:]

    def states(folder: Path, ids: torch.Tensor, pad: int) -> torch.Tensor:
        model = transformers.RobertaForCausalLM.from_pretrained(folder).eval()
        batch = torch.full((2, 16), pad)
        batch[0], batch[1, :9] = ids, ids[:9]
        mask = (torch.arange(16) < torch.tensor([[16], [9]])).long()
        with torch.no_grad():
            return model.roberta(batch, attention_mask=mask).last_hidden_state[mask.bool()]

    before = states(counting_source, source_ids, old.pad_token_id)
    after = states(result.output, target_ids, new.pad_token_id)
    assert torch.equal(before, after)


def test_the_donors_rows_follow_tokens_whose_ids_changed(counting_source, donors) -> None:
    pair = open_pair(counting_source, donors["WordPiece"])
    assert pair.target.swapped == (0, 1)
    opened = transformers.AutoTokenizer.from_pretrained(donors["WordPiece"])
    tensors = load_file(donors["WordPiece"] / "model.safetensors")
    own = next(tensor for name, tensor in tensors.items() if "word_embeddings" in name)
    order = [1, 0, *range(2, len(own))]
    assert torch.equal(PairTables(pair, None, Clock(None)).donor[: len(own)], own[order])
    assert pair.target.vocabulary.tokens[: len(own)] == opened.convert_ids_to_tokens(order)


def test_an_exact_vocabulary_cannot_take_the_counted_id(counting_source, donors, tmp_path) -> None:
    with pytest.raises(InputError, match=r"counts positions from .*leave out --vocabulary exact"):
        salt_ext.transfer(counting_source, donors["WordPiece"], tmp_path / "out", vocabulary="exact")
