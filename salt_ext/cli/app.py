"""salt-ext: the command line. Every mistake of a user ends in one sentence on stderr and exit code 2."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from salt_ext.cli.adapt import adapt
from salt_ext.cli.align import align
from salt_ext.cli.compare import compare
from salt_ext.cli.demo import demo
from salt_ext.cli.diagnose import diagnose
from salt_ext.cli.distill import distill
from salt_ext.cli.explain import explain
from salt_ext.cli.failures import told
from salt_ext.cli.inspect import inspect
from salt_ext.cli.methods import methods
from salt_ext.cli.transfer import transfer
from salt_ext.display.printing import close_stdout, console, last_words, own_streams, prepare_streams, say

# What needs torch's companions (transformers takes seconds to import) is imported inside the commands.

app = typer.Typer(
    name="salt-ext",
    help="Give a language model the tokenizer of another language and keep what it knows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if not wanted:
        return
    import torch

    from salt_ext import __version__, backends

    with last_words():
        say(console(), f"salt-ext {__version__}, torch {torch.__version__}")
        for backend in backends().values():
            details = ", ".join(f"{key} {value}" for key, value in backend.details.items() if key != "cpu_features")
            say(console(), f"{backend.name}: {details if backend.available else backend.reason}")
    raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show versions and backends.")
    ] = False,
) -> None:
    """Options of salt-ext itself."""


for command in (transfer, distill, adapt, inspect, explain, diagnose, methods, compare, demo, align):
    app.command()(command)


def run(arguments: list[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: without the program's name; None for those of this process.

    Returns:
        0; 2 for a mistake of the user or a machine that does not give what is needed; 3 for a fault of salt-ext or of a
        library below it; 130 for an interruption.
    """
    prepare_streams()
    try:
        app(args=arguments, prog_name="salt-ext")
    except SystemExit as finished:
        return finished.code if isinstance(finished.code, int) else 0
    except BaseException as error:  # whatever was raised, a user is told in a sentence
        return told(error)
    return 0


def main() -> None:
    """The console script."""
    own_streams()
    code = run()
    close_stdout()
    sys.exit(code)


if __name__ == "__main__":
    main()
