"""The second argument without a model: a folder of tokenizer files, a tokenizer.json, a SentencePiece model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

import salt_ext
from salt_ext import cli
from salt_ext.errors import InputError
from salt_ext.methods import method_names
from salt_ext.methods.core.registry import method_class
from salt_ext.pair.pair import PairOptions
from salt_ext.pipeline.inspection import inspect
from salt_ext.plan import Provenance

from .conftest import ONLY_TARGET, SHARED, text_of


@pytest.fixture(scope="module")
def alone(tmp_path_factory, target_tokenizer) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "tokenizer"
    target_tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("texts") / "text.txt"
    file.write_text("\n".join(text_of(SHARED + ONLY_TARGET, 11, 300)), encoding="utf-8")
    return file


def table(folder: Path) -> torch.Tensor:
    return transformers.AutoModelForCausalLM.from_pretrained(folder).get_input_embeddings().weight.detach()


@pytest.mark.parametrize("given", ["folder", "tokenizer.json", "copy.json"])
def test_the_rows_are_those_that_a_model_with_this_tokenizer_gets(given, source, donor, alone, tmp_path):
    """By a method that uses no donor row; a file under another name tells no roles, so special tokens may differ."""
    path = {"folder": alone, "tokenizer.json": alone / "tokenizer.json", "copy.json": tmp_path / "copy.json"}[given]
    shutil.copyfile(alone / "tokenizer.json", tmp_path / "copy.json")
    made = salt_ext.transfer(source, path, tmp_path / "a", method="subword")
    salt_ext.transfer(source, donor, tmp_path / "b", method="subword")
    rows = made.plan.rows(Provenance.REGRESSED) if given == "copy.json" else slice(None)
    assert torch.equal(table(tmp_path / "a")[rows], table(tmp_path / "b")[rows])
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path / "a")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    assert model.generate(**opened("Kater lo", return_tensors="pt"), max_new_tokens=3, min_new_tokens=3).shape[1] > 3
    facts = json.loads((tmp_path / "a" / "salt_report.json").read_text())["inputs"]
    assert facts["donor"]["table_rows"] is facts["donor"]["architectures"] is None
    assert facts["donor rows"] is facts["auxiliary vectors"] is None
    assert not any("tokenizer alone" in warning for warning in made.report["warnings"])


@pytest.mark.parametrize("method", ["salt", "salt-plus", "global", "clp", "omp", "interpolate", "focus", "ofa"])
def test_vectors_stand_in_for_donor_rows(method, source, alone, word_vectors, tmp_path):
    aux = f"vectors:{word_vectors[0]}"
    options = {"k": 4} if method in ("omp", "interpolate") else {}
    made = salt_ext.transfer(source, alone, tmp_path / "out", method=method, method_options=options, aux=aux)
    assert made.report["rows"]["regressed"] > 50
    stood_in = "donor table" in method_class(method).info.needs
    assert made.report["inputs"]["donor rows"] == ("the auxiliary vectors" if stood_in else None)
    assert any("stand in for donor rows" in warning for warning in made.report["warnings"]) == stood_in


def test_salt_regresses_on_the_vectors(source, alone, target_tokenizer, source_tokenizer, word_vectors, tmp_path):
    """The global map by hand: least squares from the anchors' vectors to their rows."""
    made = salt_ext.transfer(source, alone, tmp_path / "out", method="global", aux=f"vectors:{word_vectors[0]}")
    old, new, plan = table(source).double(), table(tmp_path / "out").double(), made.plan
    decode = target_tokenizer.backend_tokenizer.decoder.decode
    vectors = {
        number: torch.from_numpy(word_vectors[1][text]).double()
        for token, number in target_tokenizer.get_vocab().items()
        if (text := decode([token]).strip()) in word_vectors[1] and not token.startswith("<")
    }
    copies = dict(zip(*(part.tolist() for part in plan.copies()), strict=True))
    shared = [number for number in vectors if number in copies]
    a, b = torch.stack([vectors[n] for n in shared]), torch.stack([old[copies[n]] for n in shared])
    fitted = torch.linalg.pinv(a) @ b
    made_rows = [n for n in plan.rows(Provenance.REGRESSED).tolist() if n in vectors]
    expected = torch.stack([vectors[n] for n in made_rows]) @ fitted
    assert len(made_rows) > 50
    assert torch.allclose(new[made_rows], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["salt", "focus", "global"])
def test_refused_before_any_table_is_read(method, source, alone, text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("salt_ext.pair.source_tables.SourceTables.examine", lambda *given: pytest.fail("read"))
    assert cli.run(["transfer", str(source), str(alone), "-o", str(tmp_path / "out"), "--method", method]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"method {method} needs " in message
    offered = message.partition("needs neither: ")[2]
    for name in method_names():
        free = not {"donor table", "auxiliary vectors"} & set(method_class(name).info.needs)
        assert (name in offered) == free
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=f"method {method} needs"):
        salt_ext.compare(source, alone, f"subword,{method}", text=[text])


def test_ofa_with_its_own_vectors_needs_none(source, alone, word_vectors, tmp_path):
    own = {"vectors": f"vectors:{word_vectors[0]}"}
    made = salt_ext.transfer(source, alone, tmp_path / "out", method="ofa", method_options=own)
    assert made.report["rows"]["regressed"] > 50


def test_options_of_a_table_that_is_not_there(source, donor, alone):
    for options, message in (
        ({"donor_embedding": "x"}, "donor_embedding is 'x', a table of the donor, and"),
        ({"tokenizer": donor}, "itself as the donor"),
    ):
        with pytest.raises(InputError, match=message):
            inspect(source, alone, options=PairOptions(**options))


def test_what_is_left_of_a_model_is_no_tokenizer_alone(source, donor, copy_of, tmp_path):
    folder = copy_of(donor)
    (folder / "model.safetensors").unlink()
    made = salt_ext.transfer(source, folder, tmp_path / "a", method="subword")
    assert any("has a config.json but no weights" in warning for warning in made.report["warnings"])
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"donor: .* holds neither model\.safetensors"):
        salt_ext.transfer(source, folder, tmp_path / "b", method="subword")
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(InputError, match="donor: "):
        salt_ext.transfer(source, folder, tmp_path / "b", method="subword")


def test_inspect_and_compare(source, alone, text, capsys):
    assert cli.run(["inspect", str(source), str(alone)]) == 0
    assert "none: a tokenizer alone" in capsys.readouterr().out
    found = salt_ext.compare(source, alone, "subword", text=[text])
    assert found.rows[0].mean("bits_per_byte") > 0


def test_files_that_are_no_tokenizer(source, donor, tmp_path):
    (tmp_path / "text.txt").write_text("a")
    for path, message in (
        (donor / "config.json", r"donor: tokenizer file .*config\.json defines no tokenizer"),
        (tmp_path / "gone.model", r"donor: tokenizer file .*gone\.model does not exist"),
        (tmp_path / "text.txt", r"donor: .*text\.txt is a file; expected a model folder"),
    ):
        with pytest.raises(InputError, match=message):
            inspect(source, path)


def test_without_a_single_anchor(source, tmp_path):
    """Only a method that has to learn from anchors fails, as with a model; pieces need none."""
    words = ["<odd>", "日", "月", "水", "火"]
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<odd>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<odd>").save_pretrained(tmp_path / "alone")
    (tmp_path / "words.vec").write_text("4 2\n日 1 0\n月 0 1\n水 1 1\n火 1 2\n", encoding="utf-8")
    aux = f"vectors:{tmp_path / 'words.vec'}"
    with pytest.raises(InputError, match=r"share too few tokens: .* of which 0 are text with an auxiliary vector"):
        salt_ext.transfer(source, tmp_path / "alone", tmp_path / "out", method="global", aux=aux)
    made = salt_ext.transfer(source, tmp_path / "alone", tmp_path / "out", method="subword")
    assert made.report["rows"]["regressed"] == 4
    assert any("0 of " in warning and "are anchors" in warning for warning in made.report["warnings"])


@pytest.mark.parametrize("name", ["focus-de-bpe-50k", "focus-de-xlmr-unigram-30k", "mistral-v1/tokenizer.model"])
def test_real_tokenizers(name, real_data, tmp_path):
    made = salt_ext.transfer(
        real_data / "models/en-llama", real_data / "tokenizers" / name, tmp_path / "out", method="subword"
    )
    assert made.report["inputs"]["donor"]["table_rows"] is None
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    given = tokenizer("Im Anfang schuf Gott", return_tensors="pt")
    assert model.generate(**given, max_new_tokens=4, min_new_tokens=4).shape[1] == given["input_ids"].shape[1] + 4


@pytest.mark.parametrize("name", ["x" * 300 + ".json", "loop.json", "nothing.model"])
def test_files_that_lead_nowhere(source, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop.json").symlink_to("loop.json")
    assert cli.run(["transfer", str(source), name, "-o", "out", "--method", "subword"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("salt-ext: donor: tokenizer file")
    assert message.endswith("does not exist\n")
    assert not (tmp_path / "out").exists()
