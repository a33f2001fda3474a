"""From what the user typed to a folder on this machine: a local folder, or a download from the model hub."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Collection
from pathlib import Path

import huggingface_hub

from salt_ext.checkpoint.layout import INDEX_FILE, PICKLED_FILE, PICKLED_INDEX_FILE, SINGLE_FILE, read_index
from salt_ext.errors import InputError
from salt_ext.files.paths import expanded, require_plain_files

# Configuration, tokenizer, indices, licence and model card; never nested folders.
_SMALL = [
    "*.json",
    "*.model",
    "*.txt",
    "*.jinja",
    "*.tiktoken",
    "*.spm",
    "LICENSE*",
    "NOTICE*",
    "USE_POLICY*",
    "README.md",
]
_CODE = ["*.py"]
_NESTED = ["*/*"]

# From the snapshot's folder and the keys of an index to the key whose file alone is needed.
ChooseKey = Callable[[Path, Collection[str]], str]


def local_folder(
    name_or_path: str | Path, *, what: str, choose_key: ChooseKey | None = None, remote_code: bool = False
) -> Path:
    """The folder of a model, downloaded first when it is a hub name.

    Fetched are configuration, tokenizer and licence, then the weights in one format: safetensors, or torch's own files
    where there are none. What the hub's cache has already is not fetched again, and with HF_HUB_OFFLINE=1 only the
    cache is asked.

    Args:
        name_or_path: a folder, or a name on the model hub such as "org/name".
        what: what the user calls this argument, for the messages ("source", "donor").
        choose_key: of a sharded model only the file with this key is fetched; None for all.
        remote_code: whether the model's own Python files are fetched too.

    Returns:
        An absolute path of an existing folder.

    Raises:
        InputError: there is no such folder, and no such model on the hub (or no way to reach it); or its index is not
            valid.
    """
    path = expanded(name_or_path)
    if os.path.isdir(path):
        require_plain_files(path, what)
        return path.resolve()
    if os.path.exists(path):
        hint = "; of GGUF, give its folder" if path.suffix.lower() == ".gguf" else ""
        raise InputError(f"{what}: {path} is a file, where a model folder was expected{hint}")
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or not _may_be_hub_name(name):
        raise InputError(f"{what}: there is no folder {path}")
    folder = _fetch(name, [*_SMALL, *(_CODE if remote_code else [])], what=what)
    # The files of one model must be of one commit, whatever happens on the hub meanwhile.
    revision = folder.name if re.fullmatch(r"[0-9a-f]{40}", folder.name) else None
    for single, index in ((SINGLE_FILE, INDEX_FILE), (PICKLED_FILE, PICKLED_INDEX_FILE)):
        if (folder / index).exists():
            wanted = _shards(folder, index, what=what, choose_key=choose_key)
            return _fetch(name, [glob.escape(shard) for shard in wanted], what=what, revision=revision)
        folder = _fetch(name, [single], what=what, revision=revision)
        if (folder / single).exists():
            break
    return folder


def hub_name(name_or_path: str | Path) -> str | None:
    """The name on the model hub of what a user named, or of a folder in the hub's own cache; None where it has none."""
    path = expanded(name_or_path)
    if not os.path.exists(path):
        name = str(name_or_path)
        return name if isinstance(name_or_path, str) and _may_be_hub_name(name) else None
    cached = re.search(r"/models--([^/]+)--([^/]+)/snapshots/[^/]+$", path.resolve().as_posix())
    return None if cached is None else f"{cached[1]}/{cached[2]}"


def _shards(folder: Path, index: str, *, what: str, choose_key: ChooseKey | None) -> list[str]:
    try:
        shards = read_index(folder / index).shards or {}
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    return sorted(set(shards.values())) if choose_key is None else [shards[choose_key(folder, shards)]]


def _fetch(name: str, patterns: list[str], *, what: str, revision: str | None = None) -> Path:
    try:
        folder = huggingface_hub.snapshot_download(
            name, revision=revision, allow_patterns=patterns, ignore_patterns=_NESTED
        )
    except Exception as error:  # the client raises its own, httpx's and the system's errors for one cause: no model
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{what}: {name} is neither a folder nor a model that the hub gives: {reason}") from error
    return Path(folder).resolve()


def _may_be_hub_name(name: str) -> bool:
    return bool(name) and name[0] not in "./~" and os.sep * 2 not in name and name.count("/") <= 1
