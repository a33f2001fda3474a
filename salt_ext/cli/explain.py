"""`salt-ext explain`: the command, and what it prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from salt_ext.display.printing import PlainTable, console, last_words, quoted, say
from salt_ext.runtime.interruption import silent_end

if TYPE_CHECKING:
    from rich.console import Console

    from salt_ext.pipeline.explanation import Explanation

_SHOWN_SOURCES = 12


def explain(
    output: Annotated[str, typer.Argument(metavar="OUT", help="Folder that transfer made.")],
    tokens: Annotated[list[str], typer.Argument(metavar="TOKEN...", help="A spelling, a text, or #id.")],
) -> None:
    """Show how rows of a transferred model were made: provenance, source tokens, weights, residual."""
    with silent_end():
        from salt_ext.pipeline import explanation

    found = explanation.explain(output, tokens)
    with last_words():
        print_explanations(found, console())


def print_explanations(found: Sequence[Explanation], console: Console) -> None:
    """Prints one table for each row."""
    for row in found:
        title = f"#{row.target_id} {quoted(row.token)}: {row.provenance.name.lower()}"
        if row.residual is not None:
            title += f", residual {row.residual:.3f}"
        say(console, title)
        if row.mapped_from:
            more = ", corrected by" if row.sources else ""
            say(console, f"one map of {row.mapped_from:,} source rows, see the plan's low-rank part{more}")
        if row.learned is not None:
            say(console, f"distilled: {row.learned[0]:,} snippets, moved by {row.learned[1]:.2f} of its norm")
        if not row.sources:
            continue
        table = PlainTable("weight", "source id", "source token")
        for number, token, weight in row.sources[:_SHOWN_SOURCES]:
            table.row(f"{weight:+.4f}", number, quoted(token))
        console.print(table)
        rest = row.sources[_SHOWN_SOURCES:]
        if rest:
            share = sum(abs(weight) for *_, weight in rest) / sum(abs(weight) for *_, weight in row.sources)
            say(console, f"and {len(rest)} more, {share:.0%} of the sum of magnitudes")
