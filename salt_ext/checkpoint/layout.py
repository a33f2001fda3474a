"""Which files of a model folder hold its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salt_ext.checkpoint.limits import check_counts
from salt_ext.display.listing import listed
from salt_ext.errors import InputError, brief
from salt_ext.files.json_text import read_json
from salt_ext.files.paths import require_regular

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
PICKLED_FILE = "pytorch_model.bin"
PICKLED_INDEX_FILE = "pytorch_model.bin.index.json"
_RESAVE = "load it in a transformers that reads it and save it again with save_pretrained to convert it"
# What a folder may hold in the place of such weights, and what makes them of it; the first that is there is told.
_OTHERS = {
    "adapter_config.json": "merge the adapter first: AutoPeftModelForCausalLM.from_pretrained(FOLDER) of peft, then "
    "merge_and_unload(), then save_pretrained of the result and of the tokenizer into a new folder",
    "*.gguf": "convert with transformers: AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=NAME), AutoTokenizer "
    "likewise, and save_pretrained of both into a new folder",
    "tf_model.h5": _RESAVE,
    "flax_model.msgpack": _RESAVE,
    "consolidated*": "convert with the script convert_*_weights_to_hf.py that transformers has for the model's family",
}
# Names of weights, whole or not, that are read or could be converted.
_WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*", "model*.bin", *_OTHERS)
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Layout:
    """The weight files of a model.

    Attributes:
        pickled: whether they are torch's own files (`torch.save`), not safetensors.
        shards: for every key the name of the file that holds it; None where a single file holds all.
        metadata: the metadata of the index; None where there is no index.
    """

    pickled: bool
    shards: dict[str, str] | None
    metadata: dict[str, Any] | None

    @property
    def single_file(self) -> str:
        """The name of the file where there are no shards."""
        return PICKLED_FILE if self.pickled else SINGLE_FILE


def find_layout(folder: Path) -> Layout:
    """How a folder holds its weights: safetensors where it has both, as transformers chooses.

    Raises:
        InputError: there are no weights, or only in a format that is not read; or an index is not valid.
    """
    for pickled, single, index in ((False, SINGLE_FILE, INDEX_FILE), (True, PICKLED_FILE, PICKLED_INDEX_FILE)):
        if (folder / single).exists():
            return Layout(pickled, None, None)
        if (folder / index).exists():
            return read_index(folder / index)
    require_model(folder)
    raise InputError(without_weights(folder))


def holds_weights(folder: Path) -> bool:
    """Whether a folder has a file with a name of weights, in any format: a whole model, or what is left of one."""
    return any(any(folder.glob(pattern)) for pattern in _WEIGHTS)


def without_weights(folder: Path) -> str:
    """What is said of a folder without weights in a format that is read."""
    return f"{folder} holds neither {SINGLE_FILE} nor {INDEX_FILE}, {PICKLED_FILE} or {PICKLED_INDEX_FILE}"


def require_model(folder: Path) -> None:
    """Checks that a folder without weights in a format that is read holds none in another one, nor an adapter.

    Raises:
        InputError: it does; the message says how to convert it.
    """
    if any((folder / name).exists() for name in (SINGLE_FILE, INDEX_FILE, PICKLED_FILE, PICKLED_INDEX_FILE)):
        return
    for pattern, advice in _OTHERS.items():
        found = sorted(path.name for path in folder.glob(pattern))
        if found:
            raise InputError(f"{folder} has no safetensors, only {listed(found)}; {advice}")


def read_index(file: Path) -> Layout:
    """The index of a sharded model.

    Raises:
        InputError: it cannot be read, or is not an index of files of one folder.
    """
    pickled = file.name == PICKLED_INDEX_FILE
    suffix, kind = (".bin", "pickled") if pickled else (".safetensors", "safetensors")
    index = read_json_object(file)
    shards = index.get("weight_map")
    metadata = index.get("metadata") or {}
    if not isinstance(shards, dict) or not shards:
        raise InputError(f"{file} has no weight_map")
    if not isinstance(metadata, dict):
        raise InputError(f"{file}: its metadata is not an object")
    for shard in shards.values():
        if not isinstance(shard, str) or not _is_plain_name(shard) or not shard.endswith(suffix):
            raise InputError(f"{file} names {shard!r:.80}, where a {kind} file of its folder was expected")
    return Layout(pickled, shards, metadata)


def _is_plain_name(name: str) -> bool:
    """A name that any file system takes, and that does not lead out of its folder."""
    return Path(name).name == name and name.isprintable() and len(name) <= _LONGEST_NAME


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder, before transformers builds anything from it.

    Raises:
        InputError: it cannot be read, names no model type, or states an absurd number of layers or the like.
    """
    file = folder / "config.json"
    config = read_json_object(file)
    if not isinstance(config.get("model_type"), str):
        raise InputError(f"{file} names no model_type")
    check_counts(config, file)
    return config


def read_json_object(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        InputError: the file cannot be read, is not UTF-8 JSON, or holds something else than an object.
    """
    require_regular(file)
    try:
        value = read_json(file.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{file} does not exist") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{file} is not valid JSON: {brief(error)}") from None
    if not isinstance(value, dict):
        raise InputError(f"{file} holds a JSON {type(value).__name__}, where an object was expected")
    return value
