"""salt-ext: the command line. Every mistake of a user ends in one sentence on stderr and exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from salt_ext.cli.align import align
from salt_ext.cli.compare import compare
from salt_ext.cli.failures import told
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
    Seed,
    SetOptions,
    Source,
    Threads,
    TokenizerOption,
    TokenMap,
    TrustRemoteCode,
    VocabularyOption,
    options_of,
)
from salt_ext.display.printing import close_stdout, console, last_words, own_streams, prepare_streams, say
from salt_ext.runtime.interruption import silent_end
from salt_ext.runtime.progress import watched

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


@app.command()
def transfer(
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
        from salt_ext.pipeline import summary

    result = pipeline.transfer(
        source,
        donor,
        output,
        method=method,
        options=options_of(set_options, temperature=temperature, rcond=rcond, ridge=ridge, alignment=alignment),
        text=text or (),
        time_limit=time_limit,
        aux=aux,
        seed=seed,
        match=match.value,
        vocabulary=vocabulary.value,
        tokenizer=tokenizer,
        token_map=token_map,
        keep_markers=keep_markers,
        pad_to_multiple_of=pad_to_multiple_of,
        rows=rows,
        dtype=None if dtype is None else dtype.value,
        link=link,
        force=force,
        embedding=embedding,
        head=head,
        donor_embedding=donor_embedding,
        trust_remote_code=trust_remote_code,
        device=device,
        threads=threads,
        progress=False if quiet else None,
    )
    if not quiet:
        with last_words(f"the new model is complete in {result.output}"):
            summary.print_summary(result.report, result.output, console())


@app.command()
def inspect(
    source: Source,
    donor: Donor,
    text: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Text in the new language to measure both tokenizers on; may be repeated."),
    ] = None,
    match: MatchOption = Match.exact,
    vocabulary: ExactVocabulary = VocabularyOption.extended,
    tokenizer: TokenizerOption = None,
    token_map: TokenMap = None,
    keep_markers: KeepMarkers = None,
    embedding: Embedding = None,
    head: Head = None,
    donor_embedding: DonorEmbedding = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Show what a transfer would find: special tokens, anchors, bytes per token, warnings; only a few rows are read."""
    with silent_end():
        from salt_ext.pair.pair import PairOptions
        from salt_ext.pipeline import inspection

    options = PairOptions(
        vocabulary=vocabulary.value,
        tokenizer=tokenizer,
        token_map=token_map,
        keep_markers=keep_markers,
        embedding=embedding,
        head=head,
        donor_embedding=donor_embedding,
        trust_remote_code=trust_remote_code,
    )
    with watched(None):
        found = inspection.inspect(source, donor, texts=text or (), match=match.value, options=options)
    with last_words():
        inspection.print_inspection(found, console())


@app.command()
def explain(
    output: Annotated[str, typer.Argument(metavar="OUT", help="Folder that transfer made.")],
    tokens: Annotated[list[str], typer.Argument(metavar="TOKEN...", help="A spelling, a text, or #id.")],
) -> None:
    """Show how rows of a transferred model were made: provenance, source tokens, weights, residual."""
    with silent_end():
        from salt_ext.pipeline import explanation

    found = explanation.explain(output, tokens)
    with last_words():
        explanation.print_explanations(found, console())


@app.command()
def methods() -> None:
    """List the methods: what a new token's row is, where that comes from, what it costs and needs."""
    with silent_end():
        from salt_ext.methods.core.listing import print_methods

    with last_words():
        print_methods(console())


app.command()(compare)


@app.command()
def demo(
    output: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep all models here.")] = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Train a small source and donor on text that Python carries, transfer, and compare; no download."""
    with silent_end():
        from salt_ext import demo as demonstration

    demonstration.run(output, seed=seed, threads=threads, console=console())


app.command()(align)


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
