"""Open a tokenizer from a local folder or by its hub name."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from salt_ext.errors import InputError
from salt_ext.vocab.families import backend_of

# Files that hold a vocabulary; tokenizer_config.json alone does not, and would load as an empty tokenizer.
_VOCABULARY_FILES = ("tokenizer.json", "tekken.json", "vocab.*", "*.model", "*.spm", "*.tiktoken")


def load_tokenizer(name_or_path: str | Path) -> PreTrainedTokenizerBase:
    """Open a fast tokenizer. No remote code is run.

    Args:
        name_or_path: a folder with tokenizer files, or a name on the model hub.

    Raises:
        InputError: no such folder, no tokenizer files in it, a tokenizer that cannot be read, or only a slow one.
    """
    name = str(name_or_path)
    folder = Path(name).expanduser()
    local = folder.exists() or isinstance(name_or_path, Path) or _looks_like_a_path(name)
    if local:
        _check_folder(folder)
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder) if local else name, local_files_only=local, trust_remote_code=False
            )
    except Exception as error:  # whatever the family's own loader raises; the Rust one raises bare Exceptions
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"tokenizer of {name}: cannot be read: {reason}") from error
    backend_of(tokenizer, name)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def _looks_like_a_path(name: str) -> bool:
    """A hub name is NAME or OWNER/NAME; anything else was meant as a path."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith("/") or "\\" in name


def _check_folder(folder: Path) -> None:
    if not folder.exists():
        raise InputError(f"tokenizer folder {folder} does not exist")
    if not folder.is_dir():
        raise InputError(f"tokenizer folder {folder} is a file; expected a folder with tokenizer files")
    if not any(any(folder.glob(pattern)) for pattern in _VOCABULARY_FILES):
        raise InputError(f"folder {folder} has no vocabulary file; expected tokenizer.json or tokenizer.model")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the loader's warnings (classes that differ, regex hints): they speak of nothing that is used here."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
