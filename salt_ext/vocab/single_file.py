"""A tokenizer that is given as one file: a tokenizer.json, or a SentencePiece model."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from salt_ext.errors import InputError
from salt_ext.files.paths import require_regular

EXPECTED = "a folder with tokenizer files, a tokenizer.json or a SentencePiece model (.model)"
_DEFINITION, _SENTENCEPIECE = "tokenizer.json", "tokenizer.model"
_NAMES = {".json": _DEFINITION, ".model": _SENTENCEPIECE, ".spm": _SENTENCEPIECE}
_MODEL = re.compile(rb'"model"\s*:\s*\{')


def is_tokenizer_file(path: Path) -> bool:
    """Whether a path has the name of a file that alone is a tokenizer, and is no folder; it may be missing."""
    return path.suffix in _NAMES and not os.path.isdir(path)


@contextmanager
def as_folder(file: Path) -> Iterator[Path]:
    """A folder that opens as the tokenizer of a file.

    That is the file's own folder where it would be opened through this file anyway, since its other files say which
    special tokens play which roles; else, for the time of the context, one that holds the file alone.

    Args:
        file: see `is_tokenizer_file`.

    Raises:
        InputError: there is no such file, it cannot be read, or it is another kind of JSON.
    """
    if not os.path.exists(file):
        raise InputError(f"tokenizer file {file} does not exist")
    require_regular(file, "tokenizer:")
    name = _NAMES[file.suffix]
    if file.name == name and (name == _DEFINITION or not (file.parent / _DEFINITION).exists()):
        _check(file)
        yield file.parent
        return
    with tempfile.TemporaryDirectory(prefix="salt-tokenizer-") as scratch:
        try:
            copy = Path(shutil.copyfile(file, Path(scratch) / name))
        except OSError as error:
            raise InputError(f"tokenizer file {file} cannot be read: {error.strerror}") from error
        _check(copy, file)
        if name == _DEFINITION:
            # Any class that is named opens the definition as it is; without one, some versions know no class.
            (copy.parent / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
        yield copy.parent


def _check(file: Path, given: Path | None = None) -> None:
    try:
        found = file.suffix != ".json" or _MODEL.search(file.read_bytes()) is not None
    except OSError as error:
        raise InputError(f"tokenizer file {given or file} cannot be read: {error.strerror}") from error
    if not found:
        raise InputError(f"tokenizer file {given or file} defines no tokenizer; expected {EXPECTED}")
