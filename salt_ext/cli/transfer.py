"""`salt-ext transfer`: the command, and what it prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from salt_ext.cli.options import (
    METHOD,
    OUTPUT,
    Aux,
    Device,
    Donor,
    DonorEmbedding,
    Dtype,
    Embedding,
    ExactVocabulary,
    Head,
    KeepMarkers,
    Match,
    MatchOption,
    SetOptions,
    Source,
    Threads,
    TokenizerOption,
    TokenMap,
    TrustRemoteCode,
    VocabularyOption,
    method_options,
    options_of,
)
from salt_ext.display.listing import listed
from salt_ext.display.printing import PlainTable, console, last_words, say, warn
from salt_ext.runtime.interruption import silent_end

if TYPE_CHECKING:
    from rich.console import Console

_SHOWN_FILES = 10


def transfer(
    context: typer.Context,
    source: Source,
    donor: Donor,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder to make.")],
    method: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=METHOD,
            help="How new rows are made, see salt-ext methods; auto: the best known for what is given, or on --text. "
            "salt is the paper's, which starts badly on real models.",
        ),
    ] = "auto",
    text: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=METHOD,
            help="Text in the new language on which auto tries methods; may be repeated.",
        ),
    ] = None,
    time_limit: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", rich_help_panel=METHOD, help="For trying methods on --text.")
    ] = 600,
    aux: Aux = "donor",
    temperature: Annotated[
        float | None, typer.Option(rich_help_panel=METHOD, help="Of the sparsemax; smaller means fewer neighbours.")
    ] = None,
    rcond: Annotated[
        float | None,
        typer.Option(rich_help_panel=METHOD, help="Singular values up to this share of the largest are dropped."),
    ] = None,
    ridge: Annotated[
        float | None,
        typer.Option(rich_help_panel=METHOD, help="Share of the mean diagonal that damps the fit; 0 as the paper."),
    ] = None,
    alignment: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=METHOD, help="What salt-ext align made, for trans-tokenization."),
    ] = None,
    set_options: SetOptions = None,
    seed: Annotated[int, typer.Option(min=0, rich_help_panel=METHOD, help="Seed of everything that is drawn.")] = 0,
    match: MatchOption = Match.exact,
    vocabulary: ExactVocabulary = VocabularyOption.extended,
    tokenizer: TokenizerOption = None,
    token_map: TokenMap = None,
    keep_markers: KeepMarkers = None,
    pad_to_multiple_of: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=OUTPUT, help="Round the tables' rows up; as the source did if not given."),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=OUTPUT, help="Rows of the tables, where another model's are to be met."),
    ] = None,
    dtype: Annotated[
        Dtype | None, typer.Option(rich_help_panel=OUTPUT, help="Convert all weights; kept if not given.")
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", rich_help_panel=OUTPUT, help="Hard-link files that do not change.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", rich_help_panel=OUTPUT, help="Replace an existing output.")] = False,
    embedding: Embedding = None,
    head: Head = None,
    donor_embedding: DonorEmbedding = None,
    trust_remote_code: TrustRemoteCode = False,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Move SOURCE to the tokenizer of DONOR; how new rows are made is chosen, or named by --method."""
    with silent_end():
        from salt_ext import pipeline
        from salt_ext.pipeline.options import TransferOptions

    named = method_options(set_options, temperature=temperature, rcond=rcond, ridge=ridge, alignment=alignment)
    options = options_of(context, TransferOptions, method_options=named, text=text or ())
    result = pipeline.transfer(source, donor, output, options, force=force, progress=False if quiet else None)
    if not quiet:
        with last_words(f"the new model is complete in {result.output}"):
            print_summary(result.report, result.output, console())


def print_summary(report: Mapping[str, Any], output: Path, console: Console) -> None:
    """Prints rows by provenance, the figures, and the warnings."""
    say(console, output)
    from salt_ext.pipeline.summary import figures, row_counts

    table = PlainTable("rows", "count", "share")
    for cells in row_counts(report):
        table.row(*cells)
    console.print(table)
    for sentence in figures(report):
        say(console, sentence)
    if report["choice"] and report["choice"]["tried"]:
        console.print(_tried(report["choice"]["tried"]))
    if left_out := report["files"]["left_out"]:
        say(console, f"not taken over from the source's folder: {listed(left_out, _SHOWN_FILES)}")
    warn(console, report["warnings"])


def _tried(tried: Sequence[Mapping[str, Any]]) -> PlainTable:
    table = PlainTable("method", "bits/byte", "trained", "", title="Tried on the text")
    for each in tried:
        figures = [each["bits_per_byte"], each["trained"]]
        table.row(each["method"], *("" if f is None else f"{f:.3f}" for f in figures), each["note"])
    return table
