"""salt-ext align writes three files, and none of them ever takes the place of what it reads or of another."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from salt_ext import cli
from salt_ext.pipeline import align as job

from .conftest import ENGLISH, GERMAN


@pytest.fixture
def texts(tmp_path: Path) -> tuple[Path, Path]:
    for name, lines in (("text.en", ENGLISH), ("text.de", GERMAN)):
        (tmp_path / name).write_text("\n".join(lines * 12), encoding="utf-8")
    return tmp_path / "text.en", tmp_path / "text.de"


@pytest.fixture
def align(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    def run(*arguments: object) -> tuple[int, str]:
        command = ["align", *arguments, "--source", folders[0], "--target", folders[1], "--quiet"]
        code = cli.run([str(argument) for argument in command])
        return code, capsys.readouterr().err

    return run


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("option", ["-o", "--report", "--write-units"])
@pytest.mark.parametrize("target", ["text.de", "same.de", "tokenizer.json", "pharaoh"])
def test_nothing_that_is_read_is_replaced(align, texts, folders, tmp_path, option, target):
    os.link(texts[1], tmp_path / "same.de")
    (tmp_path / "pharaoh").write_text("0-0\n")
    given = folders[0] / target if target == "tokenizer.json" else tmp_path / target
    before = contents(tmp_path)
    output = [] if option == "-o" else ["-o", tmp_path / "table.tsv"]
    code, complaint = align(*texts, *output, option, given, "--pharaoh", tmp_path / "pharaoh", "--force")
    assert code == 2
    assert f"{given} is read for this" in complaint
    assert contents(tmp_path) == before


@pytest.mark.parametrize("option", ["-o", "--report", "--write-units"])
def test_an_existing_file_is_replaced_by_force_alone(align, texts, tmp_path, option, monkeypatch):
    (tmp_path / "file").write_text("precious")
    output = [] if option == "-o" else ["-o", tmp_path / "table.tsv"]
    with monkeypatch.context() as patch:
        patch.setattr(job, "_open", lambda *_: pytest.fail("it began to work"))
        code, complaint = align(*texts, *output, option, tmp_path / "file")
        assert (code, "exists; choose another name, or --force" in complaint) == (2, True)
        for wrong in (tmp_path, tmp_path / "no" / "file", tmp_path / ("x" * 256)):
            assert align(*texts, *output, option, wrong, "--force")[0] == 2
        assert align(*texts, "-o", tmp_path / "new", "--report", tmp_path / "new")[0] == 2
    (tmp_path / "twice").symlink_to("file")
    assert align(*texts, *output, option, tmp_path / "twice", "--force") == (0, "")
    assert (tmp_path / "file").read_text() == "precious"
    assert (tmp_path / "twice").read_text() != "precious"
    assert {path.name[:1] for path in tmp_path.iterdir()}.isdisjoint(".")
