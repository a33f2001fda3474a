"""salt-ext: the command line. Every mistake of a user ends in one sentence on stderr and exit code 2."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from salt_ext.errors import SaltError

# What needs torch's companions (transformers takes seconds to import) is imported inside the commands.

app = typer.Typer(
    name="salt-ext",
    help="Give a language model the tokenizer of another language and keep what it knows.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Match(str, Enum):
    """How wide anchors are matched."""

    exact = "exact"
    case = "case"
    loose = "loose"


Source = Annotated[str, typer.Argument(metavar="SOURCE", help="Model to move: a folder or a hub name.")]
Donor = Annotated[str, typer.Argument(metavar="DONOR", help="Model whose tokenizer it gets: a folder or a hub name.")]
MatchOption = Annotated[
    Match, typer.Option(help="What counts as the same token: equal; but for case; but for case and the word marker.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; torch's own choice if not given.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")]


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
    aux: Annotated[
        str, typer.Option(metavar="donor|fasttext:FILE|vectors:FILE", help="Vectors that choose a token's neighbours.")
    ] = "donor",
    temperature: Annotated[float, typer.Option(help="Of the sparsemax; smaller means fewer neighbours.")] = 1.0,
    rcond: Annotated[
        float | None, typer.Option(help="Singular values up to this share of the largest are dropped.")
    ] = None,
    ridge: Annotated[float, typer.Option(help="Share of the mean diagonal that damps the fit; 0 as the paper.")] = 0.0,
    match: MatchOption = Match.exact,
    seed: Seed = 0,
    threads: Threads = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Move SOURCE to the tokenizer of DONOR; every embedding row is computed by SALT (Lee et al. 2025)."""
    from rich.console import Console

    from salt_ext import pipeline, report
    from salt_ext.progress import progress_bars

    screen = Console(stderr=True)
    _quiet_downloads(quiet or not screen.is_terminal)
    with progress_bars(screen, quiet=quiet) as progress:
        result = pipeline.transfer(
            source,
            donor,
            output,
            aux=aux,
            temperature=temperature,
            rcond=rcond,
            ridge=ridge,
            match=match.value,
            seed=seed,
            threads=threads,
            force=force,
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
) -> None:
    """Show what a transfer would find: special tokens, anchors, bytes per token, warnings. No tensor is read."""
    from rich.console import Console

    from salt_ext import inspection

    _quiet_downloads(not sys.stderr.isatty())
    found = inspection.inspect(source, donor, texts=text or (), match=match.value)
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
def demo(
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep all models here.")] = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Train a small source and donor on text that Python carries, transfer, and compare; no download."""
    from rich.console import Console

    from salt_ext import demo as demonstration

    demonstration.run(output, seed=seed, threads=threads, console=Console())


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


def _quiet_downloads(quiet: bool) -> None:
    if quiet:
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()


if __name__ == "__main__":
    main()
