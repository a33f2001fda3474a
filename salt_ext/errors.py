"""The errors that salt-ext raises on purpose: each message names what was found and what was expected."""

from __future__ import annotations


class SaltError(Exception):
    """Base of every error that salt-ext raises on purpose; the command line prints it as one sentence, exit code 2."""


class InputError(SaltError, ValueError):
    """What the user gave cannot be used: a missing folder, a corrupt file, vocabularies that do not meet."""


class OutputError(SaltError, OSError):
    """The output cannot be written: it exists, the disk is full, permission is missing."""


def brief(error: BaseException, *, most: int = 300) -> str:
    """What a library below says, cut in its middle: some quote what they found, which may be as long as the file."""
    text = str(error)
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def is_panic(error: BaseException) -> bool:
    """Whether the Rust part of a library gave up: what it raises then is no Exception, of a class without a module."""
    return type(error).__name__ == "PanicException"
