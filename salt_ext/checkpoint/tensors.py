"""Which tensors of a checkpoint are indexed by the vocabulary: by its architecture, or as the user says."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from salt_ext.checkpoint.architecture import Architecture, UnknownArchitectureError
from salt_ext.checkpoint.header import TensorInfo
from salt_ext.checkpoint.keys import match_keys
from salt_ext.checkpoint.layout import find_layout, read_json_object
from salt_ext.checkpoint.named import (
    NamedSkeleton,
    candidate_names,
    candidates,
    embedding_option,
    require_key,
)
from salt_ext.checkpoint.skeleton import ModelSkeleton, input_name
from salt_ext.checkpoint.vocabulary_tensors import ModelOptions, Skeleton, VocabularyTensors
from salt_ext.errors import InputError

__all__ = ["ModelOptions", "Skeleton", "VocabularyTensors", "input_key", "open_skeleton"]


def open_skeleton(
    folder: Path, tensors: Mapping[str, TensorInfo], *, what: str, options: ModelOptions
) -> ModelSkeleton | NamedSkeleton:
    """Finds the vocabulary-indexed tensors of a checkpoint; no weights are read.

    Args:
        folder: holds config.json, and the model's own code where it has some.
        tensors: what the checkpoint holds, by key; of a donor, the file with its input table is enough.
        what: "source" or "donor"; messages begin with it.
        options: what the user says about the model.

    Raises:
        InputError: transformers does not know the architecture and no table is named, or the checkpoint contradicts its
            configuration or the options.
    """
    if options.embedding is not None:
        return NamedSkeleton(tensors, options.embedding, options.head, what=what)
    try:
        # Of a donor in several files only one was opened.
        count = max(len(tensors), len(find_layout(folder).shards or ()))
        known = ModelSkeleton(_architecture(folder, count, what, options), tensors)
    except UnknownArchitectureError as error:
        raise _unknown(error, folder, candidates(tensors), what, options) from error
    if options.head is not None:
        return NamedSkeleton(tensors, known.input, options.head, what=what)
    return known


def input_key(folder: Path, names: Collection[str], *, what: str, options: ModelOptions) -> str:
    """The key of the input table, from the keys of a checkpoint alone.

    Args:
        folder: holds config.json, and the model's own code where it has some.
        names: the keys of the whole checkpoint.
        what: "source" or "donor"; messages begin with it.
        options: what the user says about the model.

    Raises:
        InputError: as for `open_skeleton`.
    """
    if options.embedding is not None:
        require_key(options.embedding, names, what=what, option=embedding_option(what))
        return options.embedding
    try:
        architecture = _architecture(folder, len(names), what, options)
    except UnknownArchitectureError as error:
        raise _unknown(error, folder, candidate_names(names), what, options) from error
    keys, _ = match_keys(architecture.model, architecture.names, names)
    return keys[input_name(architecture, keys, names)]


def _architecture(folder: Path, tensors: int, what: str, options: ModelOptions) -> Architecture:
    where = f"{what} {folder}"
    return Architecture(folder, where=where, tensors=tensors, trust_remote_code=options.trust_remote_code)


def _unknown(error: UnknownArchitectureError, folder: Path, found: str, what: str, options: ModelOptions) -> InputError:
    option = embedding_option(what)
    named = f"name its input table with {option} NAME"
    if what != "donor":
        named += " (and with --head NAME the output table, where it is another one)"
    own_code = "auto_map" in read_json_object(folder / "config.json")
    if own_code and not options.trust_remote_code:
        named = f"run the Python code that comes with it by --trust-remote-code, or {named}"
    return InputError(f"{what} {folder}: {error}; {named}: {found}")
