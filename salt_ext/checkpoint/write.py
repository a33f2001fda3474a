"""Writing the new model folder: only the files that hold a replaced tensor are rewritten, tensor by tensor."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from salt_ext.checkpoint.companions import companion_files
from salt_ext.checkpoint.config import config_rows
from salt_ext.checkpoint.folder import INDEX_FILE, Checkpoint
from salt_ext.checkpoint.header import TensorInfo, encode_header, nbytes, read_header
from salt_ext.checkpoint.staging import check_output, check_space, staged_folder
from salt_ext.errors import InputError, OutputError

_CHUNK = 1 << 24
# Tokenizer, configurations, plan and report; the plan of a large vocabulary dominates.
_ALLOWANCE = 64 << 20

Tables = Mapping[str, Callable[[], Tensor]]


def write_checkpoint(
    source: Checkpoint,
    output: Path,
    *,
    tables: Tables,
    config: dict[str, Any],
    generation_config: dict[str, Any] | None,
    tokenizer: PreTrainedTokenizerBase,
    extra: Callable[[Path], None],
    force: bool,
) -> None:
    """Writes a complete model folder, or nothing.

    Memory is bounded by one table: each is made when its turn comes, written and dropped; all other tensors are
    streamed from file to file. Duplicates of tied tensors (`VocabularyTensors.duplicates`) are left out.

    Args:
        source: the checkpoint to take everything else from.
        output: the folder to make; must not exist unless `force`.
        tables: for each replaced tensor a function that makes it: vocab_size rows, otherwise the shape and dtype of the
            source's.
        config: becomes config.json; its vocab_size says how many rows the tables have.
        generation_config: becomes generation_config.json, unless None.
        tokenizer: saved with its own `save_pretrained`; none of the source's tokenizer files is copied.
        extra: called with the folder before it appears, to add plan and report.
        force: whether an existing model folder is replaced.

    Raises:
        OutputError: see `check_output`; or the disk is full, or writing failed. Nothing is left behind.
        InputError: a file of the source changed or cannot be read.
    """
    output = check_output(output, inputs=[source.folder], force=force)
    rows = config_rows(config)
    dropped = set(source.vocabulary_tensors().duplicates)
    shapes = {name: (rows, *source.tensors[name].shape[1:]) for name in tables}
    companions = companion_files(source.folder)
    copied = sum(file.stat().st_size for file in [*companions, *source.files])
    grown = sum(
        nbytes(source.tensors[name].dtype, shape) - source.tensors[name].nbytes for name, shape in shapes.items()
    )
    check_space(output, copied + grown + _ALLOWANCE)
    with staged_folder(output, force=force) as folder:
        touched = {source.tensors[name].file for name in [*tables, *dropped]}
        for file in source.files:
            if all(tensor.name in dropped for tensor in source.tensors.values() if tensor.file == file):
                continue
            if file in touched:
                rewrite_file(file, folder / file.name, tables=tables, shapes=shapes, dropped=dropped)
            else:
                _copy(file, folder / file.name)
        for file in companions:
            _copy(file, folder / file.name)
        if source.index is not None:
            _write_json(folder / INDEX_FILE, _updated_index(source, shapes, dropped))
        _write_json(folder / "config.json", config)
        if generation_config is not None:
            _write_json(folder / "generation_config.json", generation_config)
        _save_tokenizer(tokenizer, folder)
        extra(folder)


def rewrite_file(
    source: Path,
    target: Path,
    *,
    tables: Tables,
    shapes: Mapping[str, tuple[int, ...]],
    dropped: Collection[str] = (),
) -> None:
    """Copies one safetensors file, some tensors replaced and some left out, every other byte and the metadata kept.

    Args:
        source: the file to read.
        target: the file to make.
        tables: a function for each replaced tensor, whether or not this file holds it.
        shapes: the shape that each of them returns; the dtype is the source's.
        dropped: tensors to leave out.

    Raises:
        InputError: `source` is corrupt or changes while it is read.
        ValueError: a function returns another shape or dtype.
        OSError: `target` cannot be written.
    """
    header = read_header(source)
    kept = [tensor for tensor in header.tensors if tensor.name not in dropped]
    new_shapes = [(tensor.name, tensor.dtype, shapes.get(tensor.name, tensor.shape)) for tensor in kept]
    with source.open("rb", buffering=0) as reader, target.open("wb") as writer:
        writer.write(encode_header(new_shapes, header.metadata))
        for tensor in kept:
            if tensor.name in tables:
                _write_table(tables[tensor.name](), tensor, shapes[tensor.name], writer)
            else:
                _stream(reader, tensor, writer)


def _write_table(table: Tensor, info: TensorInfo, shape: tuple[int, ...], writer: BinaryIO) -> None:
    if table.dtype != info.torch_dtype or tuple(table.shape) != shape:
        raise ValueError(
            f"{info.name}: a table of {table.dtype} and shape {list(table.shape)} was made, "
            f"where {info.torch_dtype} and shape {list(shape)} were expected"
        )
    raw = table.detach().cpu().reshape(-1).view(torch.uint8).numpy().data
    for begin in range(0, len(raw), _CHUNK):
        writer.write(raw[begin : begin + _CHUNK])


def _stream(reader: Any, info: TensorInfo, writer: BinaryIO) -> None:
    reader.seek(info.begin)
    buffer = memoryview(bytearray(min(_CHUNK, info.nbytes)))
    left = info.nbytes
    while left:
        count = reader.readinto(buffer[: min(len(buffer), left)])
        if not count:
            raise InputError(f"{info.file} ended while {info.name} was copied: it changed since it was opened")
        writer.write(buffer[:count])
        left -= count


def _updated_index(
    source: Checkpoint, shapes: Mapping[str, tuple[int, ...]], dropped: Collection[str]
) -> dict[str, Any]:
    kept = {name: info for name, info in source.tensors.items() if name not in dropped}
    metadata = dict(source.index or {})
    metadata["total_size"] = sum(nbytes(info.dtype, shapes.get(name, info.shape)) for name, info in kept.items())
    if "total_parameters" in metadata:
        metadata["total_parameters"] = sum(math.prod(shapes.get(name, info.shape)) for name, info in kept.items())
    return {"metadata": metadata, "weight_map": {name: info.file.name for name, info in kept.items()}}


def _copy(source: Path, target: Path) -> None:
    try:
        shutil.copyfile(source, target)
    except (FileNotFoundError, PermissionError) as error:
        # The staging folder is ours and was just written to: what is missing or closed is the source.
        raise InputError(f"{source} cannot be read: {error.strerror}") from error


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    try:
        tokenizer.save_pretrained(folder)
    except Exception as error:  # the tokenizers library raises a bare Exception for a full disk
        raise OutputError(f"the tokenizer cannot be saved to {folder}: {error}") from error
