"""`salt-ext align`: the command."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from salt_ext.cli.options import TrustRemoteCode
from salt_ext.display.printing import console, last_words
from salt_ext.errors import InputError
from salt_ext.runtime.interruption import silent_end

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
        from salt_ext.alignment import job

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
            job.print_report(found, console())
