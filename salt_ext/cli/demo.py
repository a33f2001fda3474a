"""`salt-ext demo`: the command, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salt_ext.cli.compare import print_comparison
from salt_ext.cli.options import Seed
from salt_ext.display.printing import console, last_words, say
from salt_ext.runtime.interruption import silent_end

if TYPE_CHECKING:
    from rich.console import Console

    from salt_ext.comparison.demo import Demonstration


def demo(
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep models and comparison here.")] = None,
    seed: Seed = 0,
) -> None:
    """Train a small source and donor on text that Python carries, transfer, and compare methods; no download."""
    with silent_end():
        from salt_ext.comparison import demo as demonstration

    made = demonstration.run(output, seed=seed)
    kept = "kept in " + str(output) if output is not None else "removed; --output DIR keeps them"
    with last_words(None if output is None else f"models and comparison are {kept}"):
        print_demonstration(made, console())
        say(console(), f"Models and comparison are {kept}.")


def print_demonstration(made: Demonstration, screen: Console) -> None:
    """Prints what was moved and how methods compare."""
    rows = made.transferred.report["rows"]
    say(
        screen,
        f"Source: {made.english:,} bytes of Python's documentation and a little code; donor: {made.code:,} bytes of "
        f"code. The donor's {rows['total']:,} tokens: {rows['copied']:,} shared, {rows['regressed']:,} regressed, "
        f"{rows['sampled'] + rows['averaged']:,} other.",
    )
    print_comparison(made.comparison, screen)
    steps = ", ".join(f"{name} {value:.1f}" for name, value in made.seconds.items())
    say(screen, f"Seconds: {steps}; {sum(made.seconds.values()):.1f} in all.")
