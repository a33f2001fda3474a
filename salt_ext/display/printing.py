"""All that the package prints: text from anywhere as text, on any stream.

Tokens, names, titles and messages come from files of strangers. What a terminal would obey (escapes, C1 controls,
letters that turn the direction of writing, line breaks) is written as Python writes it in a string; nothing is markup;
what the stream cannot encode is spelt in letters that it can.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
import traceback
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.table import Table
from rich.text import Text

from salt_ext.errors import OutputError

# Set, it makes every error show where it was raised.
TRACEBACK = "SALT_TRACEBACK"
# What is longer says no more, and floods the terminal.
_LONGEST_CELL = 400
_LONGEST_SENTENCE = 2_000
# What our own sentences and the tables' borders have beyond ASCII; all else is spelt by its number.
_PLAIN = {"±": "+/-", "…": "...", "\u2016": "|", "\u2081": "1"}
_SPELT = "salt-ext.spelt"


def printable(text: object, *, most: int = _LONGEST_SENTENCE) -> str:
    """A text on one line that a terminal shows and does not obey.

    Letters that are not to be seen become escapes such as \\x1b, \\n, \\u202e or \\ud800, as in `repr`; spaces of every
    width stay. Of a text of more than `most` letters the middle is left out.
    """
    whole = str(text)
    if len(whole) > most:
        whole = f"{whole[: most // 2]} … {whole[-most // 2 :]}"
    return whole if whole.isprintable() else "".join(map(_shown, whole))


def quoted(token: str | None) -> str:
    """A token as it is printed: in quotes, so that spaces show; None, which is no token, without."""
    return printable(repr(token), most=_LONGEST_CELL)


def say(console: Console, text: object, *, style: str = "") -> None:
    """Prints a sentence as one line, which the terminal itself breaks: what is copied from it has no line breaks."""
    console.print(Text(printable(text), style=style), soft_wrap=True)


def warn(console: Console, warnings: Iterable[object]) -> None:
    """Prints warnings, each once."""
    for warning in dict.fromkeys(map(str, warnings)):
        say(console, f"warning: {warning}", style="yellow")


def complain(text: object) -> None:
    """Prints a sentence of the command itself on stderr; where that is closed or full there is nobody to tell."""
    if sys.stderr is None:  # print would take stdout instead
        return
    with suppress(OSError, ValueError):
        print(f"salt-ext: {printable(' '.join(str(text).split()))}", file=sys.stderr, flush=True)


class PlainTable(Table):
    """A table whose headings, title and cells are text and no markup."""

    def __init__(self, *headings: object, title: object = None, show_lines: bool = False) -> None:
        shown = None if title is None else Text(printable(title), style="table.title")
        super().__init__(title=shown, title_justify="left", show_lines=show_lines)
        for heading in headings:
            self.add_column(_cell(heading))

    def row(self, *cells: object) -> None:
        """Adds a row; a list of lines is a cell of several lines."""
        self.add_row(*map(_cell, cells))


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leaves it to `last_words`; rich itself would end the process with a code that tells of a failure."""
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """What commands print on: without markup, emoji names or guesses at what is a number."""
    return _Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def own_streams() -> None:
    """For a process that is one command: what it prints goes where it belongs, whatever was closed when it began.

    A file that is opened while 0, 1 or 2 is free would get that number, and a library's message with it. What Python
    writes to stderr gets a number of its own, so that the messages of other languages' libraries can be kept apart.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is not None:
        sys.stderr = open(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors=_SPELT)  # noqa: SIM115


def prepare_streams() -> None:
    """Lets stdout and stderr spell what they cannot encode, for this and every library that prints."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_SPELT)


@contextmanager
def last_words(done: str | None = None) -> Iterator[None]:
    """For printing what was found: a stream that is full or closed does not make a failure of what is finished.

    Args:
        done: what is finished, such as "the new model is complete in OUT"; None where printing is all there is to do.

    Raises:
        OutputError: nothing was finished, and the stream cannot be written. A reader that went away (`| head`) has read
            enough.
    """
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        close_stdout()
        if isinstance(error, BrokenPipeError):
            return
        if done is None:
            raise OutputError(f"standard output cannot be written: {error.strerror}") from error
        complain(f"{done}, but the summary cannot be printed: {error.strerror}")


def close_stdout() -> None:
    """Writes what stdout still holds; where that fails it is thrown away, or Python would try again when it exits."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def show_traceback() -> None:
    """Prints where the current error was raised, if the user asked for it."""
    if os.environ.get(TRACEBACK) and sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(*map(_line, traceback.format_exc().splitlines()), sep="\n", file=sys.stderr)


def _line(text: str) -> str:
    return printable(text)


def _cell(value: object) -> Text:
    lines = value if isinstance(value, list) else [value]
    return Text("\n").join(Text(printable(line, most=_LONGEST_CELL)) for line in lines)


def _shown(letter: str) -> str:
    if letter.isprintable() or unicodedata.category(letter) == "Zs":
        return letter
    return letter.encode("unicode_escape").decode("ascii")


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    wrong = error.object[error.start : error.end]
    escaped = (_PLAIN.get(letter) or letter.encode("unicode_escape").decode("ascii") for letter in wrong)
    return "".join(escaped), error.end


codecs.register_error(_SPELT, _spell)
