"""The arguments and options that commands share, and their groups in the help."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from salt_ext.errors import InputError

Options = TypeVar("Options", bound=Any)


class Match(str, Enum):
    """How wide anchors are matched."""

    exact = "exact"
    case = "case"
    loose = "loose"


class VocabularyOption(str, Enum):
    """Whether tokens are added to the new tokenizer."""

    extended = "extended"
    exact = "exact"


class Dtype(str, Enum):
    """What weights can be converted to."""

    bfloat16 = "bfloat16"
    float16 = "float16"
    float32 = "float32"


TOKENIZER, METHOD, OUTPUT, MODELS = "Tokenizer", "Method", "Output", "Models that transformers does not know"

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="Model to move: a folder or a hub name.")]
Donor = Annotated[
    str,
    typer.Argument(
        metavar="DONOR",
        help="Target-language model whose tokenizer and embeddings are used, or a tokenizer alone: a folder, a hub "
        "name, a tokenizer.json or a .model.",
    ),
]
Aux = Annotated[
    str,
    typer.Option(
        metavar="donor|fasttext:FILE|vectors:FILE",
        rich_help_panel=METHOD,
        help="Vectors that choose a token's neighbours.",
    ),
]
TokenizerOption = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER|NAME|FILE",
        rich_help_panel=TOKENIZER,
        help="The new tokenizer, if it is not the donor's own; the donor's pieces then make its rows.",
    ),
]
TokenMap = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=TOKENIZER,
        help='Pairs that override all others, as JSON: {"new token": "source token" or null}; "#7" is an id.',
    ),
]
KeepMarkers = Annotated[
    bool | None,
    typer.Option(
        "--keep-markers/--drop-markers",
        rich_help_panel=TOKENIZER,
        help="Add the source's special tokens and chat markers with their rows, or none; if not given, all where it "
        "has a chat template, else those that were trained.",
        show_default=False,
    ),
]
ExactVocabulary = Annotated[
    VocabularyOption,
    typer.Option(
        "--vocabulary",
        rich_help_panel=TOKENIZER,
        help="exact: the new tokenizer as it is, nothing added, for a draft model of speculative decoding.",
    ),
]
MatchOption = Annotated[
    Match,
    typer.Option(
        rich_help_panel=TOKENIZER,
        help="What counts as the same token: equal; but for case; but for case and the word marker.",
    ),
]
Embedding = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=MODELS, help="The source's input table, as its files call it."),
]
Head = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=MODELS, help="The source's output table; none if it is tied."),
]
DonorEmbedding = Annotated[
    str | None,
    typer.Option(metavar="NAME", rich_help_panel=MODELS, help="The donor's input table, as its files call it."),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", rich_help_panel=MODELS, help="Run Python code that comes with the models."),
]
Device = Annotated[
    str,
    typer.Option(
        metavar="auto|cpu|cuda[:N]", help="Where the operators run; auto takes a GPU if there is one they can use."
    ),
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; torch's own choice if not given.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")]
SetOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", rich_help_panel=METHOD, help="Any other option of the method; may be repeated."
    ),
]


def options_of(context: typer.Context, kind: type[Options], /, **changes: object) -> Options:
    """The options object of a command: of what the command line has, all that the object has a field for.

    Args:
        context: of the command that runs.
        kind: a dataclass of options.
        changes: fields that are not as the command line has them.
    """
    names = {field.name for field in fields(kind)}
    given = {name: value for name, value in context.params.items() if name in names} | changes
    made: Options = kind(**{name: value.value if isinstance(value, Enum) else value for name, value in given.items()})
    return made


def method_options(pairs: list[str] | None, **direct: float | str | Path | None) -> dict[str, object]:
    """A method's options from those that have a flag of their own and were given, and from NAME=VALUE pairs.

    Raises:
        InputError: a pair has no equals sign, or an option is given twice.
    """
    options: dict[str, object] = {name: value for name, value in direct.items() if value is not None}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise InputError(f"--set is {pair!r}, expected NAME=VALUE")
        if name in options:
            raise InputError(f"option {name} is given twice")
        options[name] = value
    return options
