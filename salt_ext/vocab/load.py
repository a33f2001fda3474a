"""Open a tokenizer from a local folder or file, or by its hub name."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from salt_ext.errors import InputError, is_panic
from salt_ext.files.paths import expanded, require_plain_files
from salt_ext.vocab.families import backend_of
from salt_ext.vocab.growth import check_growth, parts_of
from salt_ext.vocab.packages import damaged_model, missing_packages
from salt_ext.vocab.rust import PanicReport
from salt_ext.vocab.single_file import EXPECTED, as_folder, is_tokenizer_file

# Files that hold a vocabulary; tokenizer_config.json alone does not, and would load as an empty tokenizer.
_VOCABULARY_FILES = ("tokenizer.json", "tekken.json", "vocab.*", "*.model", "*.spm", "*.tiktoken")
# The Rust library keeps a Unigram piece as a chain of characters, and a chain of 150,000 overflows its stack.
_LONGEST_PIECE = 16_384
_LONG_STRING = re.compile(rb'[^"]{%d}' % _LONGEST_PIECE)
_SAMPLE = "Hello, 1 Äpfel 🙂"


def load_tokenizer(name_or_path: str | Path, *, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Open a fast tokenizer.

    Args:
        name_or_path: a folder with tokenizer files, a tokenizer.json, a SentencePiece model (.model, .spm), or a name
            on the model hub.
        trust_remote_code: whether Python code that comes with it may run.

    Raises:
        InputError: no such folder or file, no tokenizer in it, one that cannot be read, or only a slow one.
    """
    name = str(name_or_path)
    path = expanded(name)
    if is_tokenizer_file(path):
        with as_folder(path) as folder:
            return _load(name, folder, local=True, trust_remote_code=trust_remote_code)
    local = os.path.exists(path) or isinstance(name_or_path, Path) or _looks_like_a_path(name)
    return _load(name, path, local=local, trust_remote_code=trust_remote_code)


def _load(name: str, folder: Path, *, local: bool, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    if local:
        _check_folder(folder)
    try:
        with _quiet(), PanicReport():
            tokenizer = AutoTokenizer.from_pretrained(
                str(folder) if local else name, local_files_only=local, trust_remote_code=trust_remote_code
            )
            backend = backend_of(tokenizer, name)
            assert isinstance(tokenizer, PreTrainedTokenizerBase)
            check_growth(_parts(backend), name)
            _try_out(tokenizer)
    except InputError as error:
        if local and (advice := _cause(folder)) is not None:
            raise InputError(f"tokenizer of {name}: cannot be read: {advice}") from error
        raise
    except BaseException as error:  # the library raises bare Exceptions, and what is none where its Rust part panics
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        reason = _cause(folder) if local else None
        reason = reason or next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f"tokenizer of {name}: cannot be read: {reason:.300}") from error
    return tokenizer


def _cause(folder: Path) -> str | None:
    return missing_packages(folder) or damaged_model(folder)


def _parts(backend: Tokenizer) -> dict[str, Any]:
    """Its rules as they are in force, wherever they came from; a component that is written in Python has none."""
    parts: dict[str, Any] = {}
    for name in ("normalizer", "pre_tokenizer", "decoder"):
        with suppress(Exception):
            parts[name] = json.loads(getattr(backend, name).__getstate__())
    return parts


def _try_out(tokenizer: PreTrainedTokenizerBase) -> None:
    """Some definitions load, and fail at the first text or the first reload.

    Raises:
        Exception: of any type.
    """
    known = set(tokenizer.get_vocab().values())
    for texts in ((_SAMPLE,), (_SAMPLE, _SAMPLE)):
        foreign = set(tokenizer(*texts)["input_ids"]) - known
        if foreign:
            raise ValueError(f"it writes the id {min(foreign)}, which is no token")
    # What cannot be written again, such as half a surrogate pair in the template, would fail at the end of all work.
    json.dumps([tokenizer.init_kwargs, tokenizer.chat_template], default=str, ensure_ascii=False).encode("utf-8")
    if type(tokenizer.model_max_length) not in (int, float):
        raise ValueError(f"model_max_length is {tokenizer.model_max_length!r}, expected a number")


def _looks_like_a_path(name: str) -> bool:
    """A hub name is NAME or OWNER/NAME; anything else was meant as a path."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or name.endswith("/") or "\\" in name


def _check_folder(folder: Path) -> None:
    if not os.path.exists(folder):
        raise InputError(f"tokenizer folder {folder} does not exist")
    if not folder.is_dir():
        raise InputError(f"tokenizer {folder} is a file; expected {EXPECTED}")
    if not any(any(folder.glob(pattern)) for pattern in _VOCABULARY_FILES):
        raise InputError(f"folder {folder} has no vocabulary file; expected tokenizer.json or tokenizer.model")
    require_plain_files(folder, "tokenizer")
    _check_definition(folder / "tokenizer.json")


def _check_definition(file: Path) -> None:
    """What would crash or fill the memory while the library reads it."""
    try:
        raw = file.read_bytes() if file.is_file() else b""
        parts = parts_of(raw.decode("utf-8"))
    except (OSError, ValueError, RecursionError):  # the library itself says what is wrong
        return
    check_growth(parts, str(file.parent))
    _check_pieces(file, raw)


def _check_pieces(file: Path, raw: bytes) -> None:
    try:
        if _LONG_STRING.search(raw) is None:  # almost always, and much faster than parsing
            return
        pieces = json.loads(raw)["model"]["vocab"]
        longest = max((len(piece[0]) for piece in pieces), default=0) if isinstance(pieces, list) else 0
    except (ValueError, RecursionError, LookupError, TypeError):  # likewise
        return
    if longest > _LONGEST_PIECE:
        raise InputError(f"{file} has a piece of {longest} characters, expected at most {_LONGEST_PIECE}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the loader's warnings (classes that differ, regex hints): they speak of nothing that is used here."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
