"""A model folder, opened from its headers: what it holds is known before any tensor is read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from salt_ext.checkpoint.header import TensorInfo, read_header
from salt_ext.checkpoint.hub import local_folder
from salt_ext.checkpoint.tensors import Skeleton, VocabularyTensors
from salt_ext.errors import InputError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
_OTHER_FORMATS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")


def read_json_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: the file cannot be read, is not UTF-8 JSON, or holds something else than an object.
    """
    try:
        value = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{file} does not exist") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{file} holds a JSON {type(value).__name__}, where an object was expected")
    return value


class Checkpoint:
    """A model folder in safetensors format, single or sharded. Use `Checkpoint.open`.

    Attributes:
        folder: the folder, absolute.
        what: what the user calls this model ("source", "donor"); messages begin with it.
        config: config.json as it stands.
        generation_config: generation_config.json as it stands, None where there is none.
        tensors: every tensor by key, from the files' headers.
        index: the metadata of the index of a sharded checkpoint, None for a single file.
    """

    def __init__(
        self,
        folder: Path,
        what: str,
        config: dict[str, Any],
        tensors: dict[str, TensorInfo],
        index: dict[str, Any] | None,
    ) -> None:
        self.folder = folder
        self.what = what
        self.config = config
        self.tensors = tensors
        self.index = index
        generation = folder / "generation_config.json"
        self.generation_config = read_json_object(generation) if generation.exists() else None

    @classmethod
    def open(cls, name_or_path: str | Path, *, what: str = "source") -> Checkpoint:
        """Opens a model folder, or downloads it first when `name_or_path` is a name on the hub.

        Args:
            name_or_path: a folder, or a hub name such as "org/name".
            what: what the user calls this argument, for the messages.

        Raises:
            InputError: there is no such model, its configuration is missing or invalid, it has no safetensors, or
                one of its files is truncated or corrupt.
        """
        folder = local_folder(name_or_path, what=what)
        try:
            return cls._read(folder, what)
        except InputError as error:
            raise InputError(f"{what}: {error}") from error

    @classmethod
    def _read(cls, folder: Path, what: str) -> Checkpoint:
        config = read_json_object(folder / "config.json")
        if not isinstance(config.get("model_type"), str):
            raise InputError(f"{folder / 'config.json'} names no model_type")
        if (folder / SINGLE_FILE).exists():
            tensors = {tensor.name: tensor for tensor in read_header(folder / SINGLE_FILE).tensors}
            return cls(folder, what, config, tensors, None)
        if (folder / INDEX_FILE).exists():
            index = read_json_object(folder / INDEX_FILE)
            return cls(folder, what, config, _sharded_tensors(folder, index), index.get("metadata") or {})
        others = [name for name in _OTHER_FORMATS if (folder / name).exists()]
        if others:
            raise InputError(
                f"{folder} has no safetensors, only {others[0]}; load it in transformers and save it again with "
                f"save_pretrained to convert it"
            )
        raise InputError(f"{folder} holds neither {SINGLE_FILE} nor {INDEX_FILE}")

    @property
    def files(self) -> list[Path]:
        """The weight files, each once, in order of name."""
        return sorted({tensor.file for tensor in self.tensors.values()})

    def read(self, name: str) -> Tensor:
        """One tensor, in its own dtype, in memory of its own.

        Raises:
            InputError: there is no such tensor, or the file has shrunk since it was opened.
        """
        info = self.tensors.get(name)
        if info is None:
            raise InputError(f"{self.what}: {self.folder} holds no tensor {name!r}")
        if info.torch_dtype is None:
            raise InputError(f"{self.what}: {name} has dtype {info.dtype}, which torch cannot hold")
        raw = torch.empty(info.nbytes, dtype=torch.uint8)
        try:
            with info.file.open("rb", buffering=0) as stream:
                stream.seek(info.begin)
                view, done = raw.numpy().data, 0
                while done < info.nbytes:
                    count = stream.readinto(view[done:])
                    if not count:
                        raise InputError(f"{info.file} ended while {name!r} was read: it changed since it was opened")
                    done += count
        except OSError as error:
            raise InputError(f"{info.file} cannot be read: {error.strerror}") from error
        return raw.view(info.torch_dtype).reshape(info.shape)

    def vocabulary_tensors(self) -> VocabularyTensors:
        """The tensors that the vocabulary indexes, and which are tied. See `VocabularyTensors`.

        Raises:
            InputError: transformers does not know the architecture, or the checkpoint contradicts its configuration.
        """
        return self._skeleton.vocabulary_tensors()

    def input_table(self) -> Tensor:
        """The input embedding table, [rows, hidden], in its own dtype; all that is read of a donor."""
        return self.read(self._skeleton.input)

    @property
    def rows(self) -> int:
        """The rows of the input embedding table, padding rows included."""
        return self.tensors[self._skeleton.input].shape[0]

    def require_rows(self, ids: Iterable[int]) -> None:
        """Checks that every token id has a row in the input table; rows that no id uses (padding) are normal.

        Raises:
            InputError: naming the first ids that lie beyond the table.
        """
        beyond = sorted({token for token in ids if token >= self.rows})
        if beyond:
            shown = ", ".join(map(str, beyond[:5])) + (", ..." if len(beyond) > 5 else "")
            raise InputError(
                f"{self.what}: {len(beyond)} token ids have no row in the embedding table of {self.rows} rows: {shown}"
            )

    @cached_property
    def _skeleton(self) -> Skeleton:
        try:
            config = transformers.AutoConfig.from_pretrained(self.folder, trust_remote_code=False)
        except Exception as error:  # a configuration from anywhere can break its class in any way
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise InputError(
                f"{self.what}: transformers cannot read {self.folder / 'config.json'}: {reason}"
            ) from error
        return Skeleton(config, self.tensors, where=f"{self.what} {self.folder}")


def _sharded_tensors(folder: Path, index: dict[str, Any]) -> dict[str, TensorInfo]:
    """The tensors that an index names, each from the header of its shard."""
    index_file = folder / INDEX_FILE
    weight_map = index.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise InputError(f"{index_file} has no weight_map")
    if not isinstance(index.get("metadata") or {}, dict):
        raise InputError(f"{index_file}: its metadata is not an object")
    shards: dict[str, dict[str, TensorInfo]] = {}
    tensors = {}
    for name, shard in weight_map.items():
        # A plain name only: an index must not lead out of its folder.
        if not isinstance(shard, str) or Path(shard).name != shard or not shard.endswith(".safetensors"):
            raise InputError(f"{index_file} names {shard!r:.80}, where a safetensors file of its folder was expected")
        if shard not in shards:
            shards[shard] = {tensor.name: tensor for tensor in read_header(folder / shard).tensors}
        if name not in shards[shard]:
            raise InputError(f"{index_file} puts {name} into {shard}, which does not hold it")
        tensors[name] = shards[shard][name]
    return tensors
