"""Ctrl-C while libraries are imported: nothing was begun, so nothing is to be tidied up or told."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PROGRAM = "salt-ext"


def is_own_program() -> bool:
    """Whether this process is the command line, not somebody's program that imports the package."""
    module = sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] if "-m" in sys.orig_argv else []
    return Path(sys.argv[0]).stem == _PROGRAM or module == ["salt_ext"]


def end_silently() -> None:
    """From here on an interruption ends the process by the signal itself (130 in a shell), without a word.

    As an exception it would print a traceback from the midst of a library, and some turn it into another error on its
    way. Only where Python's own handler is in force, and in the main thread, which alone may change it.
    """
    if _may_change(signal.default_int_handler):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def silent_end() -> Iterator[None]:
    """Ends silently within the block; behind it work begins, and an interruption is an exception that tidies up."""
    end_silently()
    try:
        yield
    finally:
        if _may_change(signal.SIG_DFL):
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _may_change(handler: object) -> bool:
    return threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is handler
