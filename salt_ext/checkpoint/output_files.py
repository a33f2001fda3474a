"""Which weight files a new model folder has, and that each of them has a name of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from salt_ext.checkpoint.convert import check_dtype, converted_name
from salt_ext.checkpoint.destination import check_output
from salt_ext.checkpoint.folder import Checkpoint
from salt_ext.checkpoint.header import TensorInfo, read_header
from salt_ext.checkpoint.layout import SINGLE_FILE
from salt_ext.checkpoint.names import OWN_FILES
from salt_ext.errors import InputError


@dataclass(frozen=True)
class OutputFile:
    """One weight file of the output.

    Attributes:
        source: the file that it is made from.
        name: its name.
        tensors: what it holds, as the source holds it.
        metadata: the strings of its header; None where the file is taken over as it is.
    """

    source: Path
    name: str
    tensors: list[TensorInfo]
    metadata: dict[str, str] | None


def check_write(
    source: Checkpoint,
    output: Path,
    *,
    inputs: Sequence[Path] = (),
    force: bool,
    dtype: torch.dtype | None = None,
) -> Path:
    """Checks, before any work, that a model folder can be made of a checkpoint; touches nothing.

    Args:
        source: the checkpoint.
        output: the folder to make.
        inputs: what else is read and must survive, see `check_output`.
        force: whether an existing model folder may be replaced.
        dtype: what floating tensors are converted to; None keeps them.

    Returns:
        The absolute path of the output, symbolic links resolved.

    Raises:
        OutputError: see `check_output`.
        InputError: a weight file of the source would get the name of another, or of a file that is written anew; or
            `dtype` cannot be used.
    """
    if dtype is not None:
        check_dtype(dtype, source.config)
    # Whatever the case: many file systems make no difference.
    taken = {name.casefold(): name for name in OWN_FILES}
    for file in source.files:
        name = _output_name(file, source)
        other = taken.setdefault(name.casefold(), file.name)
        if other in OWN_FILES:
            raise InputError(
                f"{source.what}: its weight file {file.name} would get the name of {other}, which is written anew; "
                f"rename it, in its index too"
            )
        if other != file.name:
            raise InputError(f"{source.what}: its weight files {other} and {file.name} would get one name, {name}")
    return check_output(output, inputs=[source.folder, *inputs], force=force)


def output_files(source: Checkpoint, new: Collection[str], dtype: torch.dtype | None) -> list[OutputFile]:
    """The weight files of the output, without those that would be empty.

    Args:
        source: the checkpoint that it is made from.
        new: the keys of tensors that are replaced.
        dtype: what floating tensors are converted to; None keeps them.
    """
    dropped = set(source.vocabulary_tensors().duplicates)
    by_file: dict[Path, list[TensorInfo]] = {file: [] for file in source.files}
    for info in source.tensors.values():
        by_file[info.file].append(info)
    found = []
    for file, tensors in by_file.items():
        metadata = {"format": "pt"} if source.pickled else None
        touched = any(
            info.name in dropped or info.name in new or converted_name(info.dtype, dtype) != info.dtype
            for info in tensors
        )
        if touched and not source.pickled:
            tensors, metadata = read_header(file)
        kept = [info for info in tensors if info.name not in dropped]
        if kept:
            found.append(OutputFile(file, _output_name(file, source), kept, metadata))
    return found


def _output_name(file: Path, source: Checkpoint) -> str:
    if source.index is None:
        return SINGLE_FILE
    if not source.pickled:
        return file.name
    return f"{file.stem.removeprefix('pytorch_')}.safetensors"
