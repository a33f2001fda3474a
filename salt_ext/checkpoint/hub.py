"""From what the user typed to a folder on this machine: a local folder, or a download from the model hub."""

from __future__ import annotations

import os
from pathlib import Path

import huggingface_hub

from salt_ext.errors import InputError

# Configuration, tokenizer, licence and safetensors; never the same weights in other formats, never nested folders.
_WANTED = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja", "*.tiktoken", "*.spm", "LICENSE*", "NOTICE*"]
_UNWANTED = ["*/*", "*.bin.index.json", "consolidated*.safetensors"]


def local_folder(name_or_path: str | Path, *, what: str) -> Path:
    """The folder of a model, downloaded first when it is a hub name.

    Args:
        name_or_path: a folder, or a name on the model hub such as "org/name".
        what: what the user calls this argument, for the messages ("source", "donor").

    Returns:
        An absolute path of an existing folder.

    Raises:
        InputError: there is no such folder, and no such model on the hub (or no way to reach it).
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise InputError(f"{what}: {path} is a file, where a model folder was expected")
    name = str(name_or_path)
    if isinstance(name_or_path, Path) or not _may_be_hub_name(name):
        raise InputError(f"{what}: there is no folder {path}")
    try:
        folder = huggingface_hub.snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=_UNWANTED)
    except Exception as error:  # the client raises its own, httpx's and the system's errors for one cause: no model
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"{what}: {name} is neither a folder nor a model that the hub gives: {reason}") from error
    return Path(folder).resolve()


def _may_be_hub_name(name: str) -> bool:
    return bool(name) and name[0] not in "./~" and os.sep * 2 not in name and name.count("/") <= 1
