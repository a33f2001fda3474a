"""Where an output may be made: what lies there and could be missed is named, and stays."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from salt_ext.checkpoint import check_output
from salt_ext.checkpoint.destination import require_replaceable
from salt_ext.checkpoint.staging import staged_folder
from salt_ext.errors import OutputError

REPORT = json.dumps({"made_by": "salt-ext", "files": {"copied": ["odd.bin"]}})
MODEL = {
    "config.json": '{"model_type": "llama", "auto_map": {"AutoModel": "modeling_own.Model"}}',
    "generation_config.json": "{}",
    "model-00001-of-00002.safetensors": "x",
    "shard_b.safetensors": "x",
    "model.safetensors.index.json": '{"weight_map": {"a": "model-00001-of-00002.safetensors", '
    '"b": "shard_b.safetensors"}}',
    "pytorch_model.bin": "x",
    "tokenizer.json": "{}",
    "tokenizer_config.json": "{}",
    "tokenizer.model": "x",
    "special_tokens_map.json": "{}",
    "chat_template.jinja": "x",
    "preprocessor_config.json": "{}",
    "modeling_own.py": "from .layers_own import Layer\n",
    "layers_own.py": "",
    "README.md": "x",
    "LICENSE.txt": "x",
    ".gitattributes": "x",
    "salt_plan.safetensors": "x",
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder with nothing but files of a model, beside sub-folders that such a folder may have."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name, content in MODEL.items():
        (folder / name).write_text(content)
    for name in (".cache/huggingface/download/x.metadata", "additional_chat_templates/tool_use.jinja"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("x")
    return folder


def test_a_model_and_nothing_else_is_replaced(model, tmp_path):
    assert check_output(model, inputs=[], force=True) == model.resolve()
    (tmp_path / "empty").mkdir()
    check_output(tmp_path / "empty", inputs=[], force=True)


@pytest.mark.parametrize("ours", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "thesis.txt",
        "data.json",
        "train.py",
        "photo.png",
        "README.vec",
        "adapter_model.safetensors",
        "embeddings.safetensors",
        "training_args.bin",
        "optimizer.pt",
        "model.gguf",
        "checkpoint-500/model.safetensors",
        "runs/events",
        ".git/config",
        ".ssh/id",
        ".cache/other/file",
        "additional_chat_templates/notes.txt",
    ],
)
def test_more_than_a_model_is_named_and_stays(model, name, ours):
    if ours:
        (model / "salt_report.json").write_text(REPORT)
    (model / name).parent.mkdir(parents=True, exist_ok=True)
    (model / name).write_text("precious")
    with pytest.raises(OutputError, match=rf"holds more than a model \({name.split('/')[0]}\), so even force does not"):
        check_output(model, inputs=[], force=True)
    assert (model / name).read_text() == "precious"


def test_what_a_report_says_was_copied_is_ours(model):
    (model / "odd.bin").write_text("x")
    with pytest.raises(OutputError, match=r"holds more than a model \(odd.bin\)"):
        require_replaceable(model)
    for report in ("[]", "{", json.dumps({"files": {"copied": ["odd.bin"]}}), json.dumps({"made_by": "salt-ext"})):
        (model / "salt_report.json").write_text(report)
        with pytest.raises(OutputError, match=r"holds more than a model \(odd.bin\)"):
            require_replaceable(model)
    (model / "salt_report.json").write_text(REPORT)
    (model / "empty.txt").touch()
    require_replaceable(model)


def test_other_folders_and_files_stay(tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.txt").touch()
    with pytest.raises(
        OutputError, match=r"not a model folder \(it holds 0.txt, .*, 4.txt and 3 more\), so even force"
    ):
        check_output(folder, inputs=[], force=True)
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "pipe"):
        with pytest.raises(OutputError, match="exists and is not a model folder, so even force"):
            check_output(tmp_path / name, inputs=[], force=True)


def test_no_input_lies_in_a_replaced_folder(model, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link.vec").symlink_to(model / "tokenizer.json")
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").symlink_to(model / "tokenizer.json")
    for given in (model, model / "tokenizer.json", tmp_path / "elsewhere" / "link.vec", tokenizer):
        with pytest.raises(OutputError, match="must lie apart from"):
            check_output(model, inputs=[tmp_path / "missing", given], force=True)
    # A file beside the output, a link out of it, and one around it are no reason to refuse.
    (model / "LICENSE").symlink_to(tmp_path / "words.vec")
    (tmp_path / "words.vec").touch()
    (tokenizer / "tokenizer.json").unlink()
    (tokenizer / "home").symlink_to(tmp_path)
    assert check_output(model, inputs=[tmp_path / "words.vec", tokenizer], force=True) == model.resolve()


def test_outputs_that_lead_nowhere(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to("first")
    for name in ("loop", "first"):
        with pytest.raises(OutputError, match=f"{name} is a symbolic link that leads to itself"):
            check_output(tmp_path / name, inputs=[], force=True)
    with pytest.raises(OutputError, match="out cannot be made: "):
        check_output(tmp_path / "loop" / "out", inputs=[], force=False)
    with pytest.raises(OutputError, match="there is no folder"):
        check_output(Path("~no-such-user-here/out"), inputs=[], force=False)
    with pytest.raises(OutputError, match="null byte"):
        check_output(tmp_path / "a\0b", inputs=[], force=False)
    (tmp_path / "dangling").symlink_to("target")
    assert check_output(tmp_path / "dangling", inputs=[], force=False) == tmp_path.resolve() / "target"


@pytest.mark.parametrize("letter", ["x", "ä", "中"])
def test_the_longest_names_that_the_file_system_takes(tmp_path, letter):
    longest = letter * (os.pathconf(tmp_path, "PC_NAME_MAX") // len(letter.encode()))
    output = check_output(tmp_path / longest, inputs=[], force=False)
    for force in (False, True):
        with staged_folder(output, force=force) as folder:
            hidden = folder.name
            (folder / "config.json").touch()
        assert os.listdir(tmp_path) == [longest]
    assert len(os.fsencode(hidden)) < 143  # what an encrypted home takes
    with pytest.raises(OutputError, match="cannot be made: File name too long"):
        check_output(tmp_path / (longest + letter), inputs=[], force=False)


def test_stale_folders_of_long_names_are_told_apart(tmp_path, monkeypatch):
    """Two outputs whose names differ at the end only: each run removes what killed runs into its own output left."""
    first, second = (tmp_path / ("x" * 200 + end) for end in "ab")
    monkeypatch.setattr("salt_ext.checkpoint.staging._alive", lambda pid: False)
    with staged_folder(first, force=False) as folder:
        with staged_folder(second, force=False):
            pass
        assert folder.exists()
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["a", "b"]


def test_paths_without_room_for_the_files_are_refused_before_the_work(tmp_path):
    limit = os.pathconf(tmp_path, "PC_PATH_MAX")
    parent = tmp_path
    while len(str(parent)) < limit - 350:
        parent = parent / ("d" * 100)
    parent.mkdir(parents=True)
    check_output(parent / "out", inputs=[], force=False)
    parent = parent / ("d" * 100)
    parent.mkdir()
    with pytest.raises(OutputError, match="out cannot be made: File name too long"):
        check_output(parent / "out", inputs=[], force=False)


def test_what_appears_while_an_output_is_made_is_looked_at(model):
    def run() -> None:
        with staged_folder(model, force=True, check=require_replaceable) as folder:
            (folder / "config.json").touch()
            (model / "thesis.txt").write_text("precious")

    with pytest.raises(OutputError, match=r"holds more than a model \(thesis.txt\)"):
        run()
    assert (model / "thesis.txt").read_text() == "precious"
    assert os.listdir(model.parent) == ["model"]
