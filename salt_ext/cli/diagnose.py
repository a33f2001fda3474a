"""`salt-ext diagnose`: the command, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from salt_ext.cli.options import Device, Threads, TrustRemoteCode
from salt_ext.display.printing import PlainTable, console, last_words, say
from salt_ext.runtime.interruption import silent_end

if TYPE_CHECKING:
    from rich.console import Console

    from salt_ext.diagnosis import Diagnosis

_COLOURS = {"good": "green", "look": "yellow", "bad": "red"}


def diagnose(
    output: Annotated[str, typer.Argument(metavar="OUT", help="Folder that transfer, distill or adapt made.")],
    page: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The page to write; OUT.html beside OUT if not given."),
    ] = None,
    source: Annotated[
        str | None, typer.Option(metavar="SOURCE", help="The source; the folder that OUT's report names if not given.")
    ] = None,
    donor: Annotated[str | None, typer.Option(metavar="DONOR", help="The donor, likewise.")] = None,
    text: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Text in the new language, a document a line: what it costs; repeatable."),
    ] = None,
    source_text: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Text in the source's language; repeatable.")
    ] = None,
    max_bytes: Annotated[int, typer.Option(min=1, help="Measure on no more of each file, from its front.")] = 10_000,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing page.")] = False,
    trust_remote_code: TrustRemoteCode = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Write one HTML page, which needs no network, of what became of a moved model: verdict, rows, text, donor."""
    with silent_end():
        from salt_ext.diagnosis import diagnose as run

    found = run(
        output,
        page=page,
        source=source,
        donor=donor,
        text=text or (),
        source_text=source_text or (),
        max_bytes=max_bytes,
        trust_remote_code=trust_remote_code,
        device=device,
        threads=threads,
        force=force,
    )
    with last_words(f"the page is complete: {found.page}"):
        print_diagnosis(found, console())


def print_diagnosis(found: Diagnosis, console: Console) -> None:
    """Prints the verdict and its reasons, the worst first, and where the page lies."""
    say(console, found.verdict.headline, style=_COLOURS[found.verdict.word])
    table = PlainTable("", "check", "found")
    for reason in found.verdict.reasons:
        table.row(reason.level, reason.title, reason.finding)
    console.print(table)
    for part, why in found.facts.left_out.items():
        say(console, f"left out, {part}: {why}")
    say(console, found.page)
