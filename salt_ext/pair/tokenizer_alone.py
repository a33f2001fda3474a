"""What is given as donor where it is no model: a tokenizer alone, whose new rows need other sources than a table."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from salt_ext.checkpoint import ModelOptions, holds_weights, model_folder, without_weights
from salt_ext.errors import InputError
from salt_ext.files.paths import expanded
from salt_ext.vocab import Vocabulary, load_tokenizer
from salt_ext.vocab.single_file import EXPECTED, is_tokenizer_file

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TokenizerAlone:
    """A donor without an embedding table.

    Attributes:
        path: its folder or file, absolute.
        tokenizer: the tokenizer.
        vocabulary: what its ids stand for.
        lack: why it has no table, the middle of a sentence.
        warnings: sentences for the user.
    """

    path: Path
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary
    lack: str
    warnings: tuple[str, ...] = ()


def place_of(donor: str | Path, options: ModelOptions) -> Path:
    """The folder of a model or of a tokenizer alone, downloaded first where it is a hub name, or a tokenizer's file.

    Raises:
        InputError: there is none.
    """
    path = expanded(donor)
    if is_tokenizer_file(path):
        return path.absolute()
    if os.path.isfile(path) and path.suffix.lower() != ".gguf":
        raise InputError(f"donor: {path} is a file; expected a model folder, {EXPECTED}")
    return model_folder(donor, what="donor", options=options, only_input=True)


def is_model(place: Path) -> bool:
    """Whether a folder holds weights, whole or not: what is left of a model shall not pass for a tokenizer alone."""
    return os.path.isdir(place) and holds_weights(place)


def open_alone(place: Path, name: str, *, trust_remote_code: bool = False) -> TokenizerAlone:
    """Opens a tokenizer alone.

    A configuration without weights is not enough to be a model: tokenizers are often published with one, since
    transformers finds their class by it. But weights may also have been forgotten, so the user is told.

    Args:
        place: see `place_of`.
        name: what the user called it.
        trust_remote_code: whether Python code that comes with it may run.

    Raises:
        InputError: it cannot be read, or is not a fast one.
    """
    try:
        tokenizer = load_tokenizer(place, trust_remote_code=trust_remote_code)
        vocabulary = Vocabulary.from_tokenizer(tokenizer, name=name)
    except InputError as error:
        raise InputError(f"donor: {error}") from error
    if not os.path.isdir(place):
        return TokenizerAlone(place, tokenizer, vocabulary, f"{place} is a tokenizer alone")
    lack, warnings = without_weights(place), list[str]()
    if (place / "config.json").exists():
        warnings.append(f"donor: {place} has a config.json but no weights: it is taken for a tokenizer alone")
    return TokenizerAlone(place, tokenizer, vocabulary, lack, tuple(warnings))
