"""Streams that take nothing, or are not there: what is printed is lost, and nothing else."""

from __future__ import annotations

import errno
import io
import os
import sys

import pytest

from salt_ext.display.printing import complain, console, last_words, prepare_streams, say
from salt_ext.errors import OutputError


class Broken(io.StringIO):
    """A stream whose disk is full, or whose reader has gone."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


def test_a_stream_that_takes_nothing(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdout", Broken(errno.ENOSPC))
    with last_words("all is done in here"):
        say(console(), "text")
    assert capsys.readouterr().err == (
        "salt-ext: all is done in here, but the summary cannot be printed: No space left on device\n"
    )
    with pytest.raises(OutputError, match="standard output cannot be written: No space left"), last_words():
        say(console(), "text")
    monkeypatch.setattr(sys, "stdout", Broken(errno.EPIPE))
    for done in ("done", None):
        with last_words(done):
            say(console(), "text")
    assert capsys.readouterr().err == ""


def test_no_stream_at_all(monkeypatch, capfd):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    prepare_streams()
    with last_words():
        say(console(), "text")
    complain("an error is not put among the output")
    assert capfd.readouterr() == ("", "")
