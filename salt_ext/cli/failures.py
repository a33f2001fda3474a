"""How a command ends that failed: one sentence on stderr, and a code that says whose fault it was."""

from __future__ import annotations

import signal

from salt_ext.display.printing import TRACEBACK, close_stdout, complain, show_traceback
from salt_ext.errors import SaltError, is_panic

USER, FAULT, INTERRUPTED = 2, 3, 128 + signal.SIGINT


def told(error: BaseException) -> int:
    """Tells what ended a command, and returns its exit code; with SALT_TRACEBACK=1 in the environment also where.

    To be called where the error is handled.
    """
    show_traceback()
    close_stdout()
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):  # whoever read has read enough
        return 0
    # Other errors of the system: a disk that is full or a permission that is missing at an odd moment.
    if isinstance(error, (SaltError, OSError)):
        complain(error)
        return USER
    if isinstance(error, MemoryError):
        complain(f"the memory of this machine does not suffice: {error or 'no more is to be had'}")
        return USER
    if is_panic(error):
        complain(f"a library below gave up on a file or a text: {error}")
        return USER
    kind = type(error).__name__
    complain(f"a fault that nobody foresaw, {kind}: {error}; with {TRACEBACK}=1 in the environment it shows its place")
    return FAULT
