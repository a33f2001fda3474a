"""Writing the new model folder: only the files that hold a replaced tensor are rewritten, tensor by tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from salt_ext.checkpoint.convert import converted_chunks, converted_config, converted_name
from salt_ext.checkpoint.copying import Advance, can_link, copy_file, copy_range, create, open_for_copy, write_all
from salt_ext.checkpoint.destination import check_space
from salt_ext.checkpoint.folder import Checkpoint
from salt_ext.checkpoint.header import TensorInfo, dtype_name, element_bits, encode_header, nbytes
from salt_ext.checkpoint.layout import INDEX_FILE
from salt_ext.checkpoint.names import kept_readme
from salt_ext.checkpoint.output_files import OutputFile, output_files
from salt_ext.checkpoint.reading import CHUNK, byte_view, chunks
from salt_ext.errors import InputError, OutputError, brief
from salt_ext.files.json_text import json_text

# Tokenizer, configurations, plan and report; the plan of a large vocabulary dominates.
_ALLOWANCE = 64 << 20


class NewTensor(NamedTuple):
    """A tensor that takes the place of one of the source's.

    Attributes:
        shape: its shape.
        make: makes it, in the dtype that the output has for it.
    """

    shape: tuple[int, ...]
    make: Callable[[], Tensor]


def write_weights(
    source: Checkpoint,
    tensors: Mapping[str, NewTensor],
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
    link: bool = False,
    advance: Callable[[int, int], None] | None = None,
) -> None:
    """Writes a model's weights in safetensors, their index where there is one, and the other files that it needs.

    Memory is bounded by one new tensor: each is made when its turn comes, written and dropped; all other tensors go
    from file to file. Files that hold nothing new are taken over whole. Duplicates of tied tensors
    (`VocabularyTensors.duplicates`) are left out. Configurations and tokenizers are not among the other files, see
    `Checkpoint.companions`.

    Args:
        source: the checkpoint to take everything else from.
        tensors: the new tensors, by key.
        folder: an empty one, or one that holds a tokenizer.
        dtype: convert every float16, bfloat16, float32 and float64 tensor to this one of these dtypes, which
            `check_write` has found usable; None keeps them.
        link: hard-link files that are taken over whole, where source and output are on one device and the file is no
            symbolic link, see `can_link`: they take no space, but changing either folder's file in place changes both.
        advance: called with (bytes written or linked, bytes in all).

    Raises:
        OutputError: the disk has no room for it.
        InputError: a value does not fit `dtype`; or a file of the source changed or cannot be read.
        ValueError: a new tensor does not have the shape or dtype that was announced.
        OSError: a file cannot be written.
    """
    found = source.companions()
    companions = {file: file.name for file in found.kept} | {file: kept_readme(file.name) for file in found.readmes}
    files = output_files(source, tensors, dtype)
    written = sum(_size(info, tensors, dtype) for file in files if file.metadata is not None for info in file.tensors)
    whole = [*companions, *(file.source for file in files if file.metadata is None)]
    sizes = {file: _file_size(file) for file in whole}
    copied = sum(size for file, size in sizes.items() if not (link and can_link(file, folder)))
    check_space(folder, written + copied + _ALLOWANCE)
    step = _meter(advance, written + sum(sizes.values()))
    for file in files:
        target = folder / file.name
        if file.metadata is None:
            copy_file(file.source, target, link=link, advance=step)
        else:
            write_file(target, file.tensors, file.metadata, new=tensors, dtype=dtype, advance=step)
    for companion, name in companions.items():
        copy_file(companion, folder / name, link=link, advance=step)
    if source.index is not None:
        _write_json(folder / INDEX_FILE, _index(source.index, files, source.tensors, tensors, dtype))


def write_configs(
    config: Mapping[str, Any],
    generation_config: Mapping[str, Any] | None,
    folder: Path,
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Writes config.json (with `dtype`: with that dtype) and, unless it is None, generation_config.json.

    Raises:
        OSError: a file cannot be written.
    """
    _write_json(folder / "config.json", config if dtype is None else converted_config(config, dtype))
    if generation_config is not None:
        _write_json(folder / "generation_config.json", generation_config)


def write_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Saves a tokenizer with its own `save_pretrained`.

    It comes before all else: a tokenizer writes what files it likes, and in an empty folder none of them can be
    another's.

    Raises:
        OutputError: it cannot be saved.
    """
    try:
        tokenizer.save_pretrained(folder)
    except Exception as error:  # the tokenizers library raises a bare Exception for a full disk
        raise OutputError(f"the tokenizer cannot be saved to {folder}: {brief(error)}") from error


def write_file(
    target: Path,
    tensors: Sequence[TensorInfo],
    metadata: dict[str, str],
    *,
    new: Mapping[str, NewTensor],
    dtype: torch.dtype | None,
    advance: Advance,
) -> None:
    """Makes one safetensors file.

    Args:
        target: the file to make.
        tensors: what it shall hold, all in one file of the source; at least one.
        metadata: the strings of its header.
        new: new tensors by key, whether or not this file holds them.
        dtype: converts the floating tensors; None keeps them.
        advance: called with the bytes of every step.

    Raises:
        InputError: the source's file changes while it is read, or a value does not fit `dtype`.
        ValueError: a new tensor does not have the shape or dtype that was announced.
        OSError: `target` exists, or cannot be written.
    """
    names = {info.name: converted_name(info.dtype, dtype) for info in tensors}
    # Wide elements first, as the format's own library orders them: every tensor then begins at a multiple of its width.
    ordered = sorted(tensors, key=lambda info: -element_bits(names[info.name]))
    header = [(info.name, names[info.name], _shape(info, new)) for info in ordered]
    with open_for_copy(tensors[0].file) as reader, create(target, like=reader) as writer:
        write_all(writer, encode_header(header, metadata))
        for info in ordered:
            pieces: Iterable[memoryview]
            if info.name in new:
                pieces = _pieces(new[info.name], info.name, names[info.name])
            elif names[info.name] != info.dtype and dtype is not None:
                pieces = converted_chunks(info, dtype)
            elif info.stride is not None:
                pieces = chunks(info)
            else:
                copy_range(reader, writer, info.begin, info.nbytes, advance=advance)
                continue
            for piece in pieces:
                write_all(writer, piece)
                advance(len(piece))


def _shape(info: TensorInfo, new: Mapping[str, NewTensor]) -> tuple[int, ...]:
    return new[info.name].shape if info.name in new else info.shape


def _size(info: TensorInfo, new: Mapping[str, NewTensor], dtype: torch.dtype | None) -> int:
    return nbytes(converted_name(info.dtype, dtype), _shape(info, new))


def _pieces(new: NewTensor, name: str, dtype: str) -> Sequence[memoryview]:
    tensor = new.make()
    if dtype_name(tensor.dtype) != dtype or tuple(tensor.shape) != new.shape:
        raise ValueError(
            f"{name}: a tensor of {tensor.dtype} and shape {list(tensor.shape)} was made, "
            f"where {dtype} and shape {list(new.shape)} were expected"
        )
    raw = byte_view(tensor.detach().cpu())
    return [raw[begin : begin + CHUNK] for begin in range(0, len(raw), CHUNK)]


def _file_size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error


def _meter(advance: Callable[[int, int], None] | None, total: int) -> Advance:
    """From steps to (done, in all)."""
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        if advance is not None:
            advance(done, total)

    return step


def _index(
    metadata: Mapping[str, Any],
    files: Sequence[OutputFile],
    indexed: Collection[str],
    new: Mapping[str, NewTensor],
    dtype: torch.dtype | None,
) -> dict[str, Any]:
    kept = {info.name: (info, file.name) for file in files for info in file.tensors if info.name in indexed}
    updated = {**metadata, "total_size": sum(_size(info, new, dtype) for info, _ in kept.values())}
    if "total_parameters" in updated:
        updated["total_parameters"] = sum(math.prod(_shape(info, new)) for info, _ in kept.values())
    return {"metadata": updated, "weight_map": {name: file for name, (_, file) in kept.items()}}


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    with file.open("x", encoding="utf-8") as stream:
        stream.write(json_text(value))
