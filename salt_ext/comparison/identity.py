"""All that the results of a comparison depend on besides method and seed: what an unfinished one is known by."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from salt_ext.comparison.evaluator import TOKENS_PER_STEP, Adaptation
from salt_ext.comparison.texts import Texts
from salt_ext.methods import Method
from salt_ext.pair.pair import Pair, PairOptions
from salt_ext.vectors import file_of

_PACKAGES = ("salt-ext", "torch", "transformers", "tokenizers")


def identity(
    pair: Pair,
    texts: Texts,
    *,
    aux: str,
    match: str,
    models: PairOptions | None,
    adaptation: Adaptation | None,
    dtype: torch.dtype,
    device: torch.device,
) -> dict[str, Any]:
    """JSON values by what they are of; models by the names, sizes and times of their files, which are not read.

    Args:
        pair: source and donor.
        texts: what is measured and trained on.
        aux: the auxiliary vectors, as given.
        match: how anchors are matched.
        models: other options of the pair.
        adaptation: the training; None for none.
        dtype: what the models compute in.
        device: where.
    """
    vectors = file_of(aux)
    training = None if adaptation is None else [adaptation.steps, TOKENS_PER_STEP, adaptation.lr]
    return {
        "source": _files(pair.source.path),
        "donor": _files(pair.donor.path),
        "aux": [aux, None if vectors is None else _files(Path(vectors))],
        "match": match,
        "models": {name: _option(value) for name, value in asdict(models or PairOptions()).items()},
        "text": _digest(texts.held_out),
        "adapt_text": _digest(texts.training),
        "training": training,
        "dtype": str(dtype),
        "device": device.type,
        "versions": {name: version(name) for name in _PACKAGES},
    }


def files_of_method(method: Method) -> list[list[str | int]]:
    """The files that a method's options name, as `identity` knows files; a method with others has other results."""
    values = [getattr(method, option.name) for option in fields(method)]  # type: ignore[arg-type]
    named = [value if isinstance(value, Path) else file_of(value) for value in values]
    return [entry for file in named if file is not None and file.exists() for entry in _files(file)]


def _option(value: object) -> list[Any]:
    place = Path(str(value))
    return [str(value), _files(place) if isinstance(value, str | Path) and place.exists() else None]


def _files(place: Path) -> list[list[str | int]]:
    """Of a file, or of the files of a folder: name, size, and time of change in nanoseconds."""
    files = sorted(file for file in place.iterdir() if file.is_file()) if place.is_dir() else [place]
    return [[str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
