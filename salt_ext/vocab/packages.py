"""Why a tokenizer cannot be opened, a missing package or a damaged file: transformers names the last that it tried."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

# Module -> what pip calls its package.
_SENTENCEPIECE = {"sentencepiece": "sentencepiece", "google.protobuf": "protobuf"}
_TIKTOKEN = {"tiktoken": "tiktoken"}
_MISTRAL = {"mistral_common": "mistral-common"}
# A line of a tiktoken file: bytes in base64, and their rank. Some are called tokenizer.model all the same.
_RANK = re.compile(rb"[A-Za-z0-9+/=]+ \d+\s")


def missing_packages(folder: Path) -> str | None:
    """What to install to read the tokenizer of a folder; None where nothing is missing, or another file is read."""
    if (folder / "tokenizer.json").exists():
        return None
    for pattern in ("*.model", "*.spm", "*.tiktoken", "tekken.json"):
        for file in sorted(folder.glob(pattern)):
            missing = [package for module, package in _needed(file).items() if not _installed(module)]
            if missing:
                these = " and ".join(missing)
                return f"to read {file.name}, {these} must be installed: pip install {' '.join(missing)}"
    return None


def damaged_model(folder: Path) -> str | None:
    """Which SentencePiece model of a folder is none; None where there is no such, or another file is read."""
    if (folder / "tokenizer.json").exists() or not _installed("sentencepiece"):
        return None
    from sentencepiece import SentencePieceProcessor

    for file in sorted((*folder.glob("*.model"), *folder.glob("*.spm"))):
        if not _holds_ranks(file):
            try:
                whole = bool(content := file.read_bytes()) and SentencePieceProcessor(model_proto=content) is not None
            except (OSError, RuntimeError):
                whole = False
            if not whole:
                return f"{file.name} is no SentencePiece model, or not a whole one"
    return None


def _needed(file: Path) -> dict[str, str]:
    if file.name == "tekken.json":
        return _MISTRAL
    return _TIKTOKEN if file.suffix == ".tiktoken" or _holds_ranks(file) else _SENTENCEPIECE


def _holds_ranks(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return _RANK.match(stream.read(256)) is not None
    except OSError:
        return False


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # the package around it is not there
        return False
