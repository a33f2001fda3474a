"""`salt-ext align`: the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salt_ext.cli.options import TrustRemoteCode
from salt_ext.display.printing import PlainTable, console, last_words, say, warn
from salt_ext.errors import InputError
from salt_ext.runtime.interruption import silent_end

if TYPE_CHECKING:
    from rich.console import Console

    from salt_ext.pipeline.align import AlignReport

ORIGIN = "Translations from elsewhere"


class UnitChoice(str, Enum):
    """What is aligned."""

    word = "word"
    token = "token"


def align(
    source_text: Annotated[
        Path | None, typer.Argument(metavar="SOURCE_TEXT", help="UTF-8 text in the source's language.")
    ] = None,
    target_text: Annotated[
        Path | None, typer.Argument(metavar="TARGET_TEXT", help="Its translation, line by line.")
    ] = None,
    *,
    source: Annotated[str, typer.Option(metavar="M", help="Model to move, or its tokenizer: a folder or a hub name.")],
    target: Annotated[str, typer.Option(metavar="M", help="Model whose tokenizer it gets, or the tokenizer.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Alignment table to make.")],
    pharaoh: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=ORIGIN, help="Alignments of the texts' units, such as 0-0 1-2."),
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=ORIGIN, help="Probability table of fast_align, and no texts."),
    ] = None,
    dictionary: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=ORIGIN, help="Lines of source TAB target [TAB weight], no texts."),
    ] = None,
    write_units: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=ORIGIN, help="Write the texts' units for another aligner too."),
    ] = None,
    unit: Annotated[UnitChoice, typer.Option(help="Align words, or every token by itself.")] = UnitChoice.word,
    min_count: Annotated[int, typer.Option(min=1, help="Drop translations that are rarer; a dictionary's never.")] = 10,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the coverage as JSON too.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output.")] = False,
    trust_remote_code: TrustRemoteCode = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Align two tokenizers by parallel text, for the method trans-tokenization (Remy et al. 2024)."""
    with silent_end():
        from salt_ext.pipeline import align as job

    if source_text is not None and target_text is None:
        raise InputError(f"source text {source_text} has no target text beside it; expected two files")
    options = job.AlignOptions(
        pharaoh=pharaoh,
        probabilities=probabilities,
        dictionary=dictionary,
        unit=unit.value,
        min_count=min_count,
        units_file=write_units,
        report_file=report,
        trust_remote_code=trust_remote_code,
    )
    texts = None if source_text is None or target_text is None else (source_text, target_text)
    progress = False if quiet else None
    found = job.align(texts, output, source=source, target=target, options=options, force=force, progress=progress)
    if report is not None:
        job.write_report(report, found)
    if not quiet:
        with last_words(f"the alignment table is complete in {output}"):
            print_report(found, console())


def print_report(found: AlignReport, console: Console) -> None:
    """Prints how much of the target's vocabulary and text is covered."""
    columns = ["target tokens", "count", "share"]
    counted: Sequence[Mapping[str, int]] = [found.tokens]
    if found.occurrences is not None:
        columns += ["in the text", "share"]
        counted = [found.tokens, found.occurrences]
    coverage = PlainTable(*columns, title="Coverage")
    for origin in found.tokens:
        cells = [(counts[origin], sum(counts.values())) for counts in counted]
        coverage.row(origin, *(cell for count, total in cells for cell in (f"{count:,}", f"{count / total:.1%}")))
    console.print(coverage)
    origin = "a lexicon" if found.lines is None else f"{found.lines:,} pairs of lines"
    say(
        console,
        f"{found.pairs:,} pairs of tokens from {origin}, {sum(found.seconds.values()):.1f} s, "
        f"{found.peak_memory / 2**20:,.0f} MiB",
    )
    warn(console, found.warnings)
