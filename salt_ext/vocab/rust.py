"""The tokenizers library's own failures: it raises plain Exceptions, and what is none where its Rust code panics."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from salt_ext.errors import InputError, is_panic

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@contextmanager
def rust_errors(tokenizer: PreTrainedTokenizerBase | str) -> Iterator[None]:
    """Makes one sentence of what the library raises in the block, such as a regular expression that never ends.

    Args:
        tokenizer: whose it is, for the message; or its name.

    Raises:
        InputError: the library failed.
    """
    report = PanicReport()
    try:
        with report:
            yield
    except BaseException as error:
        # A class of its own has whatever knows what went wrong; the library's failures have none.
        if type(error) is not Exception and not is_panic(error):
            raise
        name = tokenizer if isinstance(tokenizer, str) else tokenizer.name_or_path or "the new model"
        reason = next(iter(str(error).strip().splitlines()), "for no reason that it tells")
        raise InputError(f"tokenizer of {name}: the tokenizers library gave up: {reason:.300}") from error


class PanicReport:
    """Keeps what is written to the process's stderr, and drops it where Rust panicked: its report is a traceback.

    Everything else is written on when the block ends. Blocks of several threads are one.
    """

    _lock = threading.Lock()
    _inside = 0
    _panicked = False
    _stderr = -1

    def __enter__(self) -> None:
        with self._lock:
            if PanicReport._inside == 0:
                self._divert()
            PanicReport._inside += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        with self._lock:
            PanicReport._panicked |= error is not None and is_panic(error)
            PanicReport._inside -= 1
            if PanicReport._inside == 0:
                self._restore()

    @staticmethod
    def _divert() -> None:
        PanicReport._panicked = False
        # Where there is no stderr, or no room for a file, nothing is kept.
        with suppress(OSError), tempfile.TemporaryFile() as kept:
            PanicReport._stderr = os.dup(2)
            os.dup2(kept.fileno(), 2)

    @staticmethod
    def _restore() -> None:
        if PanicReport._stderr < 0:
            return
        kept = os.dup(2)
        os.dup2(PanicReport._stderr, 2)
        os.close(PanicReport._stderr)
        PanicReport._stderr = -1
        with open(kept, "rb") as stream, suppress(OSError):
            if not PanicReport._panicked:
                stream.seek(0)
                os.write(2, stream.read())
