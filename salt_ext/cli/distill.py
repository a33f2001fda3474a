"""`salt-ext distill`: the command, and what it prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from salt_ext.cli.options import OUTPUT, Device, Seed, Threads, TrustRemoteCode, options_of
from salt_ext.display.printing import console, last_words, say, warn
from salt_ext.runtime.interruption import silent_end

if TYPE_CHECKING:
    from rich.console import Console

LOSSES, TRAINING = "Losses", "Training"


def distill(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder that transfer made, not trained since.")],
    teacher: Annotated[
        str, typer.Option(metavar="SOURCE", help="The source that it was moved from: a folder or a hub name.")
    ],
    text: Annotated[
        list[Path],
        typer.Option(metavar="FILE", help="UTF-8 text in the new language, a document a line; may be repeated."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Folder to make.")],
    tokens: Annotated[
        int, typer.Option(min=1, rich_help_panel=TRAINING, help="To learn from, of the new tokenizer.")
    ] = 100_000,
    learning_rate: Annotated[
        float,
        typer.Option(rich_help_panel=TRAINING, help="A step of a row, as a share of the table's root mean square."),
    ] = 0.022,
    head_learning_rate: Annotated[
        float | None, typer.Option(rich_help_panel=TRAINING, help="The same for an untied head; as above if not given.")
    ] = None,
    tokens_per_step: Annotated[int, typer.Option(min=1, rich_help_panel=TRAINING, help="Tokens of an update.")] = 1024,
    window: Annotated[
        int, typer.Option("--context", min=2, rich_help_panel=TRAINING, help="Tokens that a model reads at once.")
    ] = 512,
    states: Annotated[
        float, typer.Option(min=0, rich_help_panel=LOSSES, help="Weight of the distance of hidden states.")
    ] = 0.0,
    chunks: Annotated[
        float, typer.Option(min=0, rich_help_panel=LOSSES, help="Weight of the divergence of chunk probabilities.")
    ] = 0.0,
    next_token: Annotated[
        float, typer.Option(min=0, rich_help_panel=LOSSES, help="Weight of the next token's cross-entropy.")
    ] = 1.0,
    layer: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=LOSSES, help="Whose states; a third of the body if not given."),
    ] = None,
    temperature: Annotated[float, typer.Option(rich_help_panel=LOSSES, help="Of the chunk probabilities.")] = 100.0,
    force: Annotated[bool, typer.Option("--force", rich_help_panel=OUTPUT, help="Replace an existing output.")] = False,
    seed: Seed = 0,
    trust_remote_code: TrustRemoteCode = False,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")] = False,
) -> None:
    """Let the rows of new tokens learn from the source itself, all else frozen: minutes, before any training."""
    with silent_end():
        from salt_ext import distillation

    options = options_of(context, distillation.DistillOptions, context=window)
    screen = console()
    result = distillation.distill(
        model,
        output,
        teacher=teacher,
        options=options,
        force=force,
        trust_remote_code=trust_remote_code,
        progress=False if quiet else None,
        announce=None if quiet else lambda sentence: say(screen, sentence),
    )
    if not quiet:
        with last_words(f"the new model is complete in {result.output}"):
            print_distillation(result.report["distillation"], screen)
            say(screen, result.output)


def print_distillation(found: Mapping[str, Any], console: Console) -> None:
    """Prints what was learned, and the figure before and after."""
    rows, bits, curve = found["rows"], found["bits_per_byte"], found["curve"]
    say(
        console,
        f"{rows['learned']:,} rows learned from {curve[-1]['tokens']:,} tokens, half of them moved by more than "
        f"{found['moved']['median']:.2f} of their norm; {rows['unreached']:,} new tokens are not in the text",
    )
    for name in [name for name in curve[0] if name != "tokens"]:
        say(console, f"{name.replace('_', ' ')}: {curve[0][name]:.3f} -> {curve[-1][name]:.3f}")
    say(console, f"bits per byte of held-out text: {bits['before']:.3f} -> {bits['after']:.3f}")
    warn(console, found["warnings"])
