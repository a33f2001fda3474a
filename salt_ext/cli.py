"""salt-ext: the command line. Every mistake of a user ends in one sentence on stderr and exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from salt_ext.cli_options import (
    METHOD,
    OUTPUT,
    Aux,
    Device,
    Donor,
    DonorEmbedding,
    Dtype,
    Embedding,
    Head,
    KeepMarkers,
    Match,
    MatchOption,
    Seed,
    SetOptions,
    Source,
    Threads,
    TokenizerOption,
    TokenMap,
    TrustRemoteCode,
    options_of,
)
from salt_ext.commands.align import align
from salt_ext.commands.compare import compare
from salt_ext.errors import SaltError
from salt_ext.progress import progress_bars, quiet_downloads

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

    typer.echo(f"salt-ext {__version__}, torch {torch.__version__}")
    for backend in backends().values():
        details = ", ".join(f"{key} {value}" for key, value in backend.details.items() if key != "cpu_features")
        typer.echo(f"{backend.name}: {details if backend.available else backend.reason}")
    raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show versions and backends.")
    ] = False,
) -> None:
    """Options of salt-ext itself."""


@app.command()
def transfer(
    source: Source,
    donor: Donor,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder to make.")],
    method: Annotated[
        str, typer.Option(metavar="NAME", rich_help_panel=METHOD, help="How new rows are made; see salt-ext methods.")
    ] = "salt",
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
    tokenizer: TokenizerOption = None,
    token_map: TokenMap = None,
    keep_markers: KeepMarkers = None,
    pad_to_multiple_of: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=OUTPUT, help="Round the tables' rows up; as the source did if not given."),
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
    """Move SOURCE to the tokenizer of DONOR; new rows are computed by SALT (Lee et al. 2025) or another method."""
    from rich.console import Console

    from salt_ext import pipeline, report

    screen = Console(stderr=True)
    quiet_downloads(quiet or not screen.is_terminal)
    with progress_bars(screen, quiet=quiet) as progress:
        result = pipeline.transfer(
            source,
            donor,
            output,
            method=method,
            options=options_of(set_options, temperature=temperature, rcond=rcond, ridge=ridge, alignment=alignment),
            aux=aux,
            seed=seed,
            match=match.value,
            tokenizer=tokenizer,
            token_map=token_map,
            keep_markers=keep_markers,
            pad_to_multiple_of=pad_to_multiple_of,
            dtype=None if dtype is None else dtype.value,
            link=link,
            force=force,
            embedding=embedding,
            head=head,
            donor_embedding=donor_embedding,
            trust_remote_code=trust_remote_code,
            device=device,
            threads=threads,
            progress=progress,
        )
    if not quiet:
        report.print_summary(result.report, result.output, Console())


@app.command()
def inspect(
    source: Source,
    donor: Donor,
    text: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Text in the new language to measure both tokenizers on; may be repeated."),
    ] = None,
    match: MatchOption = Match.exact,
    tokenizer: TokenizerOption = None,
    token_map: TokenMap = None,
    keep_markers: KeepMarkers = None,
    embedding: Embedding = None,
    head: Head = None,
    donor_embedding: DonorEmbedding = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Show what a transfer would find: special tokens, anchors, bytes per token, warnings. No tensor is read."""
    from rich.console import Console

    from salt_ext import inspection
    from salt_ext.inputs import PairOptions

    quiet_downloads(not sys.stderr.isatty())
    options = PairOptions(
        tokenizer=tokenizer,
        token_map=token_map,
        keep_markers=keep_markers,
        embedding=embedding,
        head=head,
        donor_embedding=donor_embedding,
        trust_remote_code=trust_remote_code,
    )
    found = inspection.inspect(source, donor, texts=text or (), match=match.value, options=options)
    inspection.print_inspection(found, Console())


@app.command()
def explain(
    output: Annotated[str, typer.Argument(metavar="OUT", help="Folder that transfer made.")],
    tokens: Annotated[list[str], typer.Argument(metavar="TOKEN...", help="A spelling, a text, or #id.")],
) -> None:
    """Show how rows of a transferred model were made: provenance, source tokens, weights, residual."""
    from rich.console import Console

    from salt_ext import explanation

    explanation.print_explanations(explanation.explain(output, tokens), Console())


@app.command()
def methods() -> None:
    """List the methods: what a new token's row is, where that comes from, what it costs and needs."""
    from rich.console import Console

    from salt_ext.methods.listing import print_methods

    print_methods(Console())


app.command()(compare)


@app.command()
def demo(
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep all models here.")] = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Train a small source and donor on text that Python carries, transfer, and compare; no download."""
    from rich.console import Console

    from salt_ext import demo as demonstration

    demonstration.run(output, seed=seed, threads=threads, console=Console())


app.command()(align)


def run(arguments: list[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: without the program's name; None for those of this process.

    Returns:
        0, 1 for an interruption, 2 for a mistake of the user.
    """
    try:
        app(args=arguments, prog_name="salt-ext")
    except SystemExit as finished:
        return finished.code if isinstance(finished.code, int) else 0
    except SaltError as error:
        print(f"salt-ext: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:
        # What no part expected: a disk that is full or a permission that is missing at an odd moment.
        print(f"salt-ext: {error}", file=sys.stderr)
        return 2
    return 0


def main() -> None:
    """The console script."""
    sys.exit(run())


if __name__ == "__main__":
    main()
