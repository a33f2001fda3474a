"""The command `salt-ext adapt`, and what it prints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from salt_ext.cli.options import Dtype, Threads, TrustRemoteCode, options_of
from salt_ext.display.duration import duration
from salt_ext.display.printing import PlainTable, complain, console, last_words, say
from salt_ext.runtime.interruption import silent_end

if TYPE_CHECKING:
    from rich.console import Console

TEXTS, TRAINING, OUTPUT = "Texts", "Training", "Output"


def adapt(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Model to train: a folder or a hub name.")],
    text: Annotated[
        list[str],
        typer.Option(
            metavar="FILE|DATASET",
            rich_help_panel=TEXTS,
            help="In the new language: a document a line, .jsonl, .csv or .parquet with a column text, or a data set "
            "of the hub, NAME or NAME:CONFIGURATION. May be repeated.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="Folder to make; go on here if the training was cut off."),
    ],
    tokens: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=TRAINING,
            help="Train on so many: a fifth by the vocabulary's tables alone, the others by all weights.",
        ),
    ] = None,
    phases: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=TOKENS[@LR],...",
            rich_help_panel=TRAINING,
            help="In place of --tokens; NAME is rows (of new tokens), vocabulary or all.",
        ),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(rich_help_panel=TRAINING, help="Highest learning rate; 3e-4 if not given.")
    ] = None,
    tokens_per_step: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=TRAINING, help="Of all processes together; 8192 if not given."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            "--context", min=2, rich_help_panel=TRAINING, help="Tokens read at once; 512, or what the model can."
        ),
    ] = None,
    lora: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="RANK", rich_help_panel=TRAINING, help="Train the body by adapters, the tables fully (peft)."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, rich_help_panel=TRAINING, help="Seed of all that is drawn.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.yaml", rich_help_panel=TRAINING, help="More, in the names of transformers' TrainingArguments."
        ),
    ] = None,
    eval_text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|DATASET",
            rich_help_panel=TEXTS,
            help="Measure on this; if not given, one document in fifty of --text is kept for it.",
        ),
    ] = None,
    drop_overlap: Annotated[
        bool,
        typer.Option(
            "--drop-overlap",
            rich_help_panel=TEXTS,
            help="Leave out documents of --text that hold a line of --eval-text; they are refused if not given.",
        ),
    ] = False,
    source_text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE|DATASET", rich_help_panel=TEXTS, help="In the source's language, to measure on too."
        ),
    ] = None,
    source_eval_text: Annotated[
        list[str] | None, typer.Option(metavar="FILE|DATASET", rich_help_panel=TEXTS, help="Measure on this instead.")
    ] = None,
    replay: Annotated[
        float,
        typer.Option(min=0, max=0.9, rich_help_panel=TEXTS, help="Share of the training that is of --source-text."),
    ] = 0.0,
    eval_bytes: Annotated[
        int, typer.Option(min=1, rich_help_panel=TEXTS, help="Measure on no more of each language.")
    ] = 100_000,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", rich_help_panel=TEXTS, help="Keep texts as tokens here; the data sets' own cache."),
    ] = None,
    adapters: Annotated[
        bool, typer.Option("--adapters", rich_help_panel=OUTPUT, help="Write what peft trained, not a whole model.")
    ] = False,
    dtype: Annotated[
        Dtype | None, typer.Option(rich_help_panel=OUTPUT, help="Of the trained weights; the model's if not given.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="DIR", rich_help_panel=OUTPUT, help="Write the curve for TensorBoard too.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", rich_help_panel=OUTPUT, help="Replace an existing output.")] = False,
    trust_remote_code: TrustRemoteCode = False,
    threads: Threads = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Train MODEL on text of its new language; bits per byte of held-out text tell how good it is."""
    with silent_end():
        from salt_ext.adaptation.api import adapt_model
        from salt_ext.adaptation.curve import NEEDED, can_draw
        from salt_ext.adaptation.options import AdaptOptions
        from salt_ext.adaptation.workspace import Workspace

    speaks = not quiet and os.environ.get("RANK", "0") == "0"
    if speaks and not can_draw():
        complain(NEEDED)
    screen = console(stderr=True)
    options = options_of(
        context,
        AdaptOptions,
        context=window,
        config=config or {},
        eval_text=eval_text or (),
        source_text=source_text or (),
        source_eval_text=source_eval_text or (),
    )
    work = Workspace.place(Path(os.path.realpath(output)))
    try:
        result = adapt_model(
            model,
            text,
            output,
            options,
            force=force,
            progress=False if quiet else None,
            log=(lambda sentence: say(screen, sentence)) if speaks else None,
        )
    except KeyboardInterrupt:
        if speaks and work.exists():
            say(screen, f"checkpoints are kept in {work}: the same command goes on behind the last one")
        raise
    if speaks:
        with last_words(f"the trained model is complete in {result.output}"):
            print_summary(result.report, result.output, console())


def print_summary(report: Mapping[str, Any], output: Path, console: Console) -> None:
    """Prints the figures before and after, and what was read."""
    say(console, output)
    table = PlainTable("held-out text", "before", "after", "", title="Bits per byte")
    before, after = report["before"], report["after"]
    for prefix, name in (("", "new language"), ("source_", "source's language")):
        key = f"{prefix}bits_per_byte"
        if key in after:
            change = f"{after[key] / before[key] - 1:+.1%}"
            table.row(name, f"{before[key]:.4f}", f"{after[key]:.4f}", change)
    console.print(table)
    seconds = report["seconds_of_updates"]
    say(
        console,
        f"{report['tokens']:,} tokens in {duration(seconds)} of training, {report['tokens'] / max(seconds, 1e-9):,.0f} "
        f"a second, on {report['device']}, {report['processes']} process{'es' if report['processes'] > 1 else ''}",
    )
