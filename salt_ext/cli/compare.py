"""The command `salt-ext compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salt_ext.cli.options import (
    METHOD,
    Aux,
    Device,
    Donor,
    DonorEmbedding,
    Embedding,
    Head,
    KeepMarkers,
    Match,
    MatchOption,
    Source,
    Threads,
    TokenizerOption,
    TokenMap,
    TrustRemoteCode,
    options_of,
)
from salt_ext.display.printing import PlainTable, complain, console, last_words, say, warn
from salt_ext.runtime.interruption import silent_end

if TYPE_CHECKING:
    from rich.console import Console

    from salt_ext.comparison.result import Comparison

TEXT = "Text and adaptation"


def compare(
    context: typer.Context,
    source: Source,
    donor: Donor,
    methods: Annotated[
        str,
        typer.Option(
            metavar="A,B:OPTION=VALUE;...",
            rich_help_panel=METHOD,
            help="What to compare; the controls mean and random are added. See salt-ext methods.",
        ),
    ],
    text: Annotated[
        list[Path],
        typer.Option(metavar="FILE", rich_help_panel=TEXT, help="To measure on, a document a line; may be repeated."),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Write table.csv, table.json and picture.png here, each result as it comes; go on here if cut off.",
        ),
    ] = None,
    adapt: Annotated[
        int, typer.Option(min=0, metavar="TOKENS", rich_help_panel=TEXT, help="Train every model on so many tokens.")
    ] = 0,
    adapt_text: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=TEXT,
            help="Text to train on; lines of --text are left out. May be repeated.",
        ),
    ] = None,
    lr: Annotated[float, typer.Option(rich_help_panel=TEXT, help="Highest learning rate of the training.")] = 5e-4,
    max_bytes: Annotated[
        int, typer.Option(min=1, rich_help_panel=TEXT, help="Measure on no more of each file, from its front.")
    ] = 100_000,
    seeds: Annotated[
        int, typer.Option(min=1, help="Repeat with so many seeds; the table then has mean and standard deviation.")
    ] = 1,
    aux: Aux = "donor",
    match: MatchOption = Match.exact,
    tokenizer: TokenizerOption = None,
    token_map: TokenMap = None,
    keep_markers: KeepMarkers = None,
    embedding: Embedding = None,
    head: Head = None,
    donor_embedding: DonorEmbedding = None,
    trust_remote_code: TrustRemoteCode = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Compare methods on identical inputs: cost, left-out anchors, bits per byte before and after training."""
    with silent_end():
        from salt_ext.comparison.journal import JOURNAL_FILE
        from salt_ext.comparison.plot import NEEDED, can_draw
        from salt_ext.comparison.run import compare as run
        from salt_ext.pair.pair import PairOptions

    if output is not None and not can_draw():
        complain(NEEDED)
    screen = console(stderr=True)
    try:
        comparison = run(
            source,
            donor,
            methods,
            text=text,
            adapt=adapt,
            adapt_text=adapt_text or (),
            lr=lr,
            seeds=seeds,
            max_bytes=max_bytes,
            aux=aux,
            match=match.value,
            models=options_of(context, PairOptions),
            device=device,
            threads=threads,
            output=output,
            log=lambda sentence: say(screen, sentence),
        )
    except KeyboardInterrupt:
        if output is not None and (output / JOURNAL_FILE).exists():
            say(screen, f"what is measured is kept in {output}: the same command goes on behind it")
        raise
    with last_words(None if output is None else f"the comparison is written to {output}"):
        print_comparison(comparison, console())


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Prints the table, what its columns mean, and the warnings."""
    from salt_ext.comparison.table import notes, rows, title

    metrics = comparison.metrics
    table = PlainTable("method", *(metric.heading for metric in metrics), title=title(comparison))
    table.columns[0].overflow = "fold"
    for column, metric in zip(table.columns[1:], metrics, strict=True):
        column.justify, column.min_width = "right", len(metric.heading)
    for cells in rows(comparison):
        table.row(*cells)
    console.print(table)
    for sentence in notes(comparison):
        say(console, sentence)
    warn(console, comparison.warnings)
