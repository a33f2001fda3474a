"""Each mistake ends in one sentence on stderr and exit code 2, and leaves the output's folder as it was."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from salt_ext import cli
from salt_ext.plan import TransferPlan

from .conftest import SPECIAL, byte_level, save_model


@pytest.fixture
def fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a transfer that must fail, and returns its sentence."""

    def run(source: Path, donor: Path, *options: str, output: Path | None = None) -> str:
        output = output or tmp_path / "place" / "out"
        output.parent.mkdir(exist_ok=True)
        before = sorted(output.parent.rglob("*"))
        capsys.readouterr()
        code = cli.run(["transfer", str(source), str(donor), "-o", str(output), *options])
        printed = capsys.readouterr()
        assert code == 2
        assert printed.out == ""
        assert printed.err.startswith("salt-ext: ")
        assert printed.err.count("\n") == 1
        assert "Traceback" not in printed.err
        assert sorted(output.parent.rglob("*")) == before
        return printed.err

    return run


def edit_table(folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    key = next(name for name in tensors if name.endswith("embed_tokens.weight"))
    tensors[key] = change(tensors[key].clone())
    save_file(tensors, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["vocab_size"] = len(tensors[key])
    (folder / "config.json").write_text(json.dumps(config))


def test_missing_folder(fails, source, donor, tmp_path):
    assert "source: there is no folder" in fails(tmp_path / "absent", donor)
    assert "donor: there is no folder" in fails(source, tmp_path / "absent")


@pytest.mark.parametrize("which", ["source", "donor"])
def test_no_safetensors(which, fails, source, donor, copy_of):
    folders = {"source": source, "donor": donor}
    folders[which] = copy_of(folders[which])
    (folders[which] / "model.safetensors").unlink()
    assert f"{which}: " in (message := fails(folders["source"], folders["donor"], "--method", "salt"))
    assert "holds neither model.safetensors nor" in message


@pytest.mark.parametrize("which", ["source", "donor"])
def test_ids_beyond_the_table_are_named(which, fails, source, donor, copy_of, request):
    folders = {"source": source, "donor": donor}
    folders[which] = copy_of(folders[which])
    size = len(request.getfixturevalue("source_tokenizer" if which == "source" else "target_tokenizer"))
    edit_table(folders[which], lambda table: table[: size - 3])
    message = fails(**folders)
    assert f"{which}: 3 token ids have no row" in message
    assert f"{size - 3}, {size - 2}, {size - 1}" in message


@pytest.mark.parametrize("which", ["source", "donor"])
@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_embeddings_that_are_not_finite(which, value, fails, source, donor, copy_of):
    folders = {"source": source, "donor": donor}
    folders[which] = copy_of(folders[which])

    def spoil(table: torch.Tensor) -> torch.Tensor:
        table[17, 3] = value
        return table

    edit_table(folders[which], spoil)
    message = fails(**folders)
    assert message.startswith(f"salt-ext: {which}: ")
    assert "NaN or infinity in row 17" in message


def test_padding_rows_may_hold_anything(source, donor, copy_of, target_tokenizer, tmp_path):
    damaged = copy_of(donor)

    def spoil(table: torch.Tensor) -> torch.Tensor:
        table[len(target_tokenizer) :] = float("nan")
        return table

    edit_table(damaged, spoil)
    assert cli.run(["transfer", str(source), str(damaged), "-o", str(tmp_path / "a"), "--quiet"]) == 0
    assert cli.run(["transfer", str(source), str(donor), "-o", str(tmp_path / "b"), "--quiet"]) == 0
    tables = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert tables[0] == tables[1]


def word_level_pair(tmp_path: Path, shared: list[str]) -> tuple[Path, Path]:
    """Two models whose vocabularies share exactly these words and the unknown token."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folders = []
    for name in ("one", "two"):
        words = ["<unk>", *shared, *(f"{name}{number}" for number in range(30))]
        inner = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
        inner.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")
        folders.append(save_model(tmp_path / "pair" / name, tokenizer))
    return folders[0], folders[1]


@pytest.mark.parametrize("shared", [[], ["Haus"]])
def test_too_few_anchors(shared, fails, tmp_path):
    """Special tokens are anchors, but explain no other token."""
    pair = word_level_pair(tmp_path, shared)
    needs = {
        "salt": "with an auxiliary vector; SALT needs at least 2",
        "auto": "with a row; auto (subword, named, needs none) needs at least 2",
    }
    for method, sentence in needs.items():
        message = fails(*pair, "--method", method)
        assert f"share too few tokens: {len(shared) + 1} anchors" in message
        assert f"of which {len(shared)} are text {sentence}" in message


def test_two_anchors_are_enough(tmp_path):
    source, donor = word_level_pair(tmp_path, ["Haus", "Tor"])
    assert cli.run(["transfer", str(source), str(donor), "-o", str(tmp_path / "out"), "--quiet"]) == 0


def test_donor_without_a_fast_tokenizer(fails, source, donor, copy_of):
    damaged = copy_of(donor)
    for file in damaged.glob("*token*"):
        file.unlink()
    assert "donor: " in (message := fails(source, damaged))
    assert "tokenizer" in message


def test_existing_output(fails, source, donor, tmp_path):
    output = tmp_path / "place" / "out"
    output.mkdir(parents=True)
    (output / "precious").write_text("kept")
    assert "exists already" in fails(source, donor, output=output)
    assert "not a model folder" in fails(source, donor, "--force", output=output)
    assert (output / "precious").read_text() == "kept"


def test_force_replaces_a_model(source, donor, tmp_path):
    arguments = ["transfer", str(source), str(donor), "-o", str(tmp_path / "out"), "--quiet"]
    assert cli.run(arguments) == 0
    (tmp_path / "out" / "old").write_text("")
    assert cli.run([*arguments, "--force"]) == 0
    assert not (tmp_path / "out" / "old").exists()


def test_output_is_an_input(fails, source, donor, copy_of):
    mine = copy_of(source)
    assert "must lie apart from the model" in fails(mine, donor, "--force", output=mine)


def test_unwritable_output(fails, source, donor, tmp_path, monkeypatch):
    place = tmp_path / "place"
    place.mkdir(mode=0o500)
    if os.geteuid() == 0:  # whom no mode stops: let the system say what it says to others
        monkeypatch.setattr("os.access", lambda path, mode, **options: Path(path) != place)
    assert f"the folder {place} is not writable" in fails(source, donor)


def test_output_without_a_parent(source, donor, tmp_path, capsys):
    assert cli.run(["transfer", str(source), str(donor), "-o", str(tmp_path / "deep" / "out")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    assert not (tmp_path / "deep").exists()


def test_full_disk_is_seen_beforehand(fails, source, donor, monkeypatch):
    usage = type(shutil.disk_usage("."))
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9 - 10**6, 10**6))
    assert "is too full" in fails(source, donor)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_in_the_middle(fails, source, donor, monkeypatch):
    monkeypatch.setattr(TransferPlan, "save", lambda plan, path: Path("/dev/full").write_bytes(b"x"))
    assert os.strerror(errno.ENOSPC) in fails(source, donor)


@pytest.mark.parametrize("which", ["source", "donor"])
def test_truncated_safetensors(which, fails, source, donor, copy_of):
    folders = {"source": source, "donor": donor}
    folders[which] = copy_of(folders[which])
    file = folders[which] / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "model.safetensors" in fails(**folders)


def test_corrupt_tokenizer(fails, source, donor, copy_of):
    damaged = copy_of(donor)
    (damaged / "tokenizer.json").write_text("{")
    assert "donor: tokenizer of" in fails(source, damaged)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("broken.bin", b"no fastText", "broken.bin"),
        ("broken.npy", b"no numpy", "broken.npy"),
        ("broken.vec", b"2 3\na 1 2 3\n", "broken.vec"),
        ("absent.vec", None, "absent.vec"),
    ],
)
def test_corrupt_vectors(name, content, says, fails, source, donor, tmp_path):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    assert says in fails(
        source, donor, "--method", "salt", "--aux", f"{'fasttext' if name.endswith('.bin') else 'vectors'}:{file}"
    )


def test_vectors_and_token_list_of_different_length(fails, source, donor, tmp_path):
    np.save(tmp_path / "table.npy", np.zeros((3, 4), dtype=np.float32))
    (tmp_path / "table.txt").write_text("a\nb\n")
    assert "table" in fails(source, donor, "--aux", f"vectors:{tmp_path / 'table.npy'}")


def test_source_without_a_head(fails, encoder_donor, donor):
    assert "has no head" in fails(encoder_donor, donor)


def test_vocabulary_in_an_unknown_spelling(fails, source, tmp_path):
    from tokenizers import decoders

    tokenizer = byte_level(["a b c"], 300, SPECIAL)
    tokenizer.backend_tokenizer.decoder = decoders.CTC()
    assert "donor: " in fails(source, save_model(tmp_path / "odd", tokenizer))


@pytest.mark.parametrize(
    "arguments",
    [
        ["transfer"],
        ["transfer", "a", "b"],
        ["transfer", "a", "b", "-o", "c", "--match", "fuzzy"],
        ["transfer", "a", "b", "-o", "c", "--temperature", "warm"],
        ["transfer", "a", "b", "-o", "c", "--threads", "0"],
        ["frobnicate"],
        ["explain", "a"],
    ],
)
def test_usage_errors(arguments, capsys):
    assert cli.run(arguments) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert "Usage" in printed.err or "Error" in printed.err
