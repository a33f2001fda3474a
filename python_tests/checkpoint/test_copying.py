"""Files that are taken over whole: linked or copied, always the same bytes, never another folder's permissions."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch

from salt_ext.checkpoint import Checkpoint
from salt_ext.checkpoint.copying import copy_file, copy_range, open_for_copy
from salt_ext.checkpoint.write import NewTensor
from salt_ext.errors import InputError, OutputError

from .conftest import write_model


@pytest.fixture
def file(tmp_path) -> Path:
    """More than a buffer, and no multiple of one."""
    file = tmp_path / "file"
    file.write_bytes(os.urandom((1 << 24) + 12_345))
    return file


def test_copies(file, tmp_path):
    content, steps = file.read_bytes(), []
    copy_file(file, tmp_path / "whole", link=False, advance=steps.append)
    assert (tmp_path / "whole").read_bytes() == content
    assert sum(steps) == len(content)
    begin, count = 777, (1 << 24) + 5
    with open_for_copy(file) as reader, (tmp_path / "part").open("wb", buffering=0) as writer:
        writer.write(b"before")
        copy_range(reader, writer, begin, count, advance=steps.append)
        copy_range(reader, writer, 3, 4, advance=steps.append)
        copy_range(reader, writer, 9, 0, advance=steps.append)
    assert (tmp_path / "part").read_bytes() == b"before" + content[begin : begin + count] + content[3:7]
    with (
        open_for_copy(file) as reader,
        (tmp_path / "end").open("wb", buffering=0) as writer,
        pytest.raises(InputError, match="file ended while it was copied"),
    ):
        copy_range(reader, writer, 100, len(content), advance=steps.append)


def test_clones_where_the_file_system_can(file, tmp_path, monkeypatch):
    """What the system is asked for is to share the blocks of the source; then nothing is copied."""
    asked = []

    def clone(target: int, request: int, origin: int) -> None:
        asked.append((os.fstat(target).st_ino, request, os.fstat(origin).st_ino))

    monkeypatch.setattr("fcntl.ioctl", clone)
    steps: list[int] = []
    copy_file(file, tmp_path / "clone", link=False, advance=steps.append)
    assert asked == [((tmp_path / "clone").stat().st_ino, 0x40049409, file.stat().st_ino)]
    assert steps == [file.stat().st_size]
    assert (tmp_path / "clone").stat().st_size == 0  # the system, which the test stands in for, would have filled it


@pytest.mark.parametrize(
    ("before", "after"), [(0o400, 0o600), (0o600, 0o600), (0o640, 0o640), (0o644, 0o644), (0o777, 0o644)]
)
def test_nobody_may_read_a_copy_who_may_not_read_the_file(file, tmp_path, before, after):
    file.chmod(before)
    mask = os.umask(0o022)
    try:
        copy_file(file, tmp_path / "copy", link=False, advance=lambda _: None)
    finally:
        os.umask(mask)
    assert (tmp_path / "copy").stat().st_mode & 0o7777 == after


def test_links(file, tmp_path):
    copy_file(file, tmp_path / "linked", link=True, advance=lambda _: None)
    assert (tmp_path / "linked").stat().st_ino == file.stat().st_ino
    with pytest.raises(InputError, match="missing cannot be read: No such file"):
        copy_file(tmp_path / "missing", tmp_path / "other", link=True, advance=lambda _: None)


def test_what_a_symbolic_link_leads_to_is_not_linked(file, tmp_path):
    (tmp_path / "cached").symlink_to(file)
    copy_file(tmp_path / "cached", tmp_path / "copied", link=True, advance=lambda _: None)
    assert not (tmp_path / "copied").is_symlink()
    assert (tmp_path / "copied").stat().st_ino != file.stat().st_ino
    assert (tmp_path / "copied").read_bytes() == file.read_bytes()


def test_the_hub_cache_without_symbolic_links_is_not_linked(file, tmp_path):
    cached = tmp_path / "models--org--name" / "snapshots" / "0123" / "file"
    cached.parent.mkdir(parents=True)
    file.rename(cached)
    copy_file(cached, tmp_path / "copied", link=True, advance=lambda _: None)
    assert cached.stat().st_nlink == 1


@pytest.mark.parametrize("link", [False, True])
def test_an_existing_file_is_never_written_to(file, tmp_path, link):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    for name in ("precious", "link"):
        with pytest.raises(FileExistsError):
            copy_file(file, tmp_path / name, link=link, advance=lambda _: None)
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_links_end_at_the_device(file, small_disk):
    small = file.parent / "small"
    small.write_bytes(file.read_bytes()[:5000])
    copy_file(small, small_disk / "copy", link=True, advance=lambda _: None)
    assert (small_disk / "copy").read_bytes() == small.read_bytes()


def write(source: Checkpoint, output: Path, tokenizer: object, **options: object) -> None:
    table = torch.zeros(40, 32)
    arguments = {
        "tensors": dict.fromkeys(source.vocabulary_tensors().names, NewTensor((40, 32), lambda: table)),
        "config": source.config | {"vocab_size": 40},
        "generation_config": None,
        "tokenizer": tokenizer,
        "force": False,
    }
    write_model(source, output, **(arguments | options))


def test_only_untouched_files_are_linked(make_checkpoint, tokenizer, tmp_path):
    folder, model = make_checkpoint("llama-untied", max_shard_size="20KB")
    (folder / "LICENSE").write_text("free")
    source = Checkpoint.open(folder)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    told = []
    write(source, tmp_path / "out", tokenizer, link=True, advance=lambda *step: told.append(step))
    touched = {source.tensors[name].file.name for name in source.vocabulary_tensors().names}
    for file in folder.glob("model-*.safetensors"):
        same = (tmp_path / "out" / file.name).stat().st_ino == file.stat().st_ino
        assert same == (file.name not in touched)
    assert (tmp_path / "out" / "LICENSE").stat().st_ino == (folder / "LICENSE").stat().st_ino
    assert told[-1][0] == told[-1][1]
    assert torch.equal(type(model).from_pretrained(tmp_path / "out").get_input_embeddings().weight, torch.zeros(40, 32))
    # A replaced output takes its names away, never the source's bytes.
    write(source, tmp_path / "out", tokenizer, link=True, force=True)
    shutil.rmtree(tmp_path / "out")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_the_disk_needs_no_room_for_links(make_checkpoint, tokenizer, tmp_path, monkeypatch):
    folder, _ = make_checkpoint("llama-untied", max_shard_size="20KB")
    (folder / "LICENSE.txt").write_bytes(bytes(1 << 20))
    source = Checkpoint.open(folder)
    real, free = shutil.disk_usage(tmp_path), (64 << 20) + (1 << 19)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=free))
    with pytest.raises(OutputError, match="is too full"):
        write(source, tmp_path / "out", tokenizer)
    write(source, tmp_path / "out", tokenizer, link=True)


def test_without_links_where_the_device_ends(make_checkpoint, tokenizer, small_disk, monkeypatch):
    monkeypatch.setattr("salt_ext.checkpoint.write._ALLOWANCE", 0)
    folder, _ = make_checkpoint("llama-untied", max_shard_size="20KB")
    source = Checkpoint.open(folder)
    write(source, small_disk / "out", tokenizer, link=True)
    for file in folder.glob("model-*.safetensors"):
        assert (small_disk / "out" / file.name).stat().st_dev == small_disk.stat().st_dev
    (folder / "LICENSE.txt").write_bytes(bytes(1 << 20))
    with pytest.raises(OutputError, match="is too full"):
        write(source, small_disk / "second", tokenizer, link=True)
