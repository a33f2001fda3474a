"""Paths that users type, and files that are written for them: no waiting, no traceback, nothing else overwritten."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from salt_ext.errors import InputError, OutputError
from salt_ext.files.output_file import check_output_file, write_anew
from salt_ext.files.paths import expanded, require_plain_files, require_regular
from salt_ext.files.text_lines import read_lines

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes, devices and links of a POSIX system")


@pytest.fixture(autouse=True)
def never_waits() -> Iterator[None]:
    """A test that waits for somebody to write into a pipe fails, instead of hanging."""

    def late(*_: object) -> None:
        raise AssertionError("it waits")

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture
def odd(tmp_path: Path) -> dict[str, Path]:
    """What a path can be beside a file, by the word for it."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    server = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(tmp_path)  # the name of a socket may have a hundred characters only
    server.bind("socket")
    os.chdir(here)
    server.close()
    names = {"a named pipe": "pipe", "a folder": "folder", "a socket": "socket"}
    return {kind: tmp_path / name for kind, name in names.items()} | {"a device": Path("/dev/zero")}


def test_every_kind_is_named_and_none_is_opened(odd, tmp_path):
    for kind, path in odd.items():
        if kind == "a folder":
            require_regular(path)
            with pytest.raises(InputError, match=f"^text {path} cannot be read: Is a directory$"):
                read_lines(path)
            continue
        with pytest.raises(InputError, match=f"^token map {path} is {kind}, where a file was expected$"):
            require_regular(path, "token map")
        with pytest.raises(InputError, match=f"^text {path} is {kind}"):
            read_lines(path)
    with pytest.raises(InputError, match="link is a named pipe"):
        require_regular(tmp_path / "link")


def test_files_and_pipes_without_a_name_pass(tmp_path):
    (tmp_path / "text").write_text("one\ntwo\n")
    (tmp_path / "link").symlink_to("text")
    assert read_lines(tmp_path / "link") == ["one", "two"]
    reader, writer = os.pipe()
    os.write(writer, b"three\n")
    os.close(writer)
    assert read_lines(Path(f"/dev/fd/{reader}")) == ["three"]  # as <(command) of a shell
    os.close(reader)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_lines(tmp_path / "missing")
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        read_lines(tmp_path / ("x" * 300))


def test_folders_with_pipes(odd, tmp_path):
    for name, kind in (("link", "a named pipe"), ("pipe", "a named pipe"), ("socket", "a socket")):
        with pytest.raises(InputError, match=f"^donor: {tmp_path / name} is {kind}, where a file was expected$"):
            require_plain_files(tmp_path, "donor")
        (tmp_path / name).rename(tmp_path / f".{name}")
    require_plain_files(tmp_path, "donor")
    (tmp_path / "config.json").mkdir()
    with pytest.raises(InputError, match=r"config.json is a folder, where a file was expected"):
        require_plain_files(tmp_path, "donor")


def test_home_of_nobody():
    assert expanded("~no-such-user-here/x") == Path("~no-such-user-here/x")
    assert expanded("~/x") == Path.home() / "x"


def test_nothing_is_written_through_a_link(tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    os.link(precious, tmp_path / "hard")
    (tmp_path / "soft").symlink_to(precious)
    for name in ("hard", "soft"):
        write_anew(tmp_path / name, b"new", what="the file")
        assert (tmp_path / name).read_bytes() == b"new"
        assert not (tmp_path / name).is_symlink()
    assert precious.read_bytes() == b"precious"
    assert sorted(os.listdir(tmp_path)) == ["hard", "precious", "soft"]


def test_a_failure_keeps_the_older_file(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"old")

    def pieces() -> Iterator[bytes]:
        yield b"new"
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"the file cannot be written to .*/file: No space left on device$"):
        write_anew(file, pieces(), what="the file")
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_device_stays_one():
    status = os.stat("/dev/null")
    check_output_file(Path("/dev/null"), what="output", inputs=[], force=False)
    write_anew(Path("/dev/null"), b"gone", what="the file")
    assert os.stat("/dev/null").st_ino == status.st_ino


def test_names_as_long_as_the_file_system_takes(tmp_path):
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    check_output_file(tmp_path / ("x" * longest), what="output", inputs=[], force=False)
    write_anew(tmp_path / ("x" * longest), b"content", what="the file")
    with pytest.raises(OutputError, match="cannot be made: File name too long"):
        check_output_file(tmp_path / ("x" * (longest + 1)), what="output", inputs=[], force=False)


def test_what_may_not_be_replaced(tmp_path):
    text = tmp_path / "text"
    text.write_text("precious")
    os.link(text, tmp_path / "same")
    model = tmp_path / "model"
    model.mkdir()
    (model / "tokenizer.json").write_text("{}")

    def refused(file: Path, message: str, *, force: bool = True) -> None:
        with pytest.raises(OutputError, match=message):
            check_output_file(file, what="report", inputs=[text, model, tmp_path / "missing"], force=force)

    refused(text, "report .*text is read for this")
    refused(tmp_path / "same", "is read for this, as .*text")
    refused(model / "tokenizer.json", "is read for this, as .*model")
    refused(model, "is a folder")
    refused(tmp_path / "no" / "file", "there is no folder")
    (tmp_path / "other").write_text("")
    refused(tmp_path / "other", "exists; choose another name, or --force", force=False)
    (tmp_path / "loop").symlink_to("loop")
    check_output_file(tmp_path / "other", what="report", inputs=[tmp_path / "loop"], force=True)
    check_output_file(model / "new", what="report", inputs=[model], force=False)
