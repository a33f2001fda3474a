"""Which files of the source belong beside the new weights: those that the output needs, and no others."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from salt_ext.checkpoint.model_code import model_code
from salt_ext.checkpoint.names import OWN_FILES, is_needed, is_readme, is_tokenizer, is_weights
from salt_ext.display.listing import listed
from salt_ext.errors import InputError

ADAPTER_FILE = "adapter_config.json"


@dataclass(frozen=True)
class Companions:
    """The files of a model folder beside its weights and configurations.

    Attributes:
        kept: what is copied as it is, in order of name: processors, licences, notices, model code that the
            configuration refers to.
        left_out: names of all else: the old tokenizer, weights in other formats, adapters, notes, sub-folders (which
            end in "/"). Hidden files are no part of it.
        readmes: descriptions of the source, which are kept under another name, see `kept_readme`.
        warnings: sentences for the user.
    """

    kept: tuple[Path, ...]
    left_out: tuple[str, ...]
    readmes: tuple[Path, ...]
    warnings: tuple[str, ...]


def find_companions(folder: Path, used: Collection[str] = ()) -> Companions:
    """Sorts a model folder's files by what becomes of them.

    A file that is not known to be needed stays behind: what describes another vocabulary or another model would be read
    by the next tool as if it belonged to this one. A symbolic link is followed within the folder, and from a snapshot
    of the hub's cache into its blobs; any other may lead to what its owner never meant to pass on.

    Args:
        folder: the source's folder, absolute.
        used: names of the files that hold its weights.

    Raises:
        InputError: the folder cannot be listed.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from error
    code = model_code(folder)
    kept, left_out, readmes, outside = list[Path](), list[str](), list[Path](), list[Path]()
    for entry in entries:
        name = entry.name
        if name in OWN_FILES or name in used or name.startswith("."):
            continue
        if is_readme(name) and entry.is_file():
            (readmes if belongs(entry, folder) else outside).append(entry)
            continue
        needed = is_needed(name) or name in code
        unknown = not (is_tokenizer(name) or is_weights(name) or entry.is_dir())
        if (needed or unknown) and not belongs(entry, folder):
            outside.append(entry)
        if needed and entry.is_file() and entry not in outside:
            kept.append(entry)
        else:
            left_out.append(f"{name}/" if entry.is_dir() else name)
    warnings = tuple(_warnings(folder, left_out, [entry.name for entry in outside]))
    return Companions(tuple(kept), tuple(left_out), tuple(readmes), warnings)


def belongs(entry: Path, folder: Path) -> bool:
    """Whether a file lies in the folder, or in the blobs of the hub's cache that the folder is a snapshot of."""
    if not entry.is_symlink():
        return True
    homes = [folder.resolve()]
    if homes[0].parent.name == "snapshots":
        homes.append(homes[0].parent.parent / "blobs")
    real = Path(os.path.realpath(entry))
    return any(home in real.parents for home in homes)


def _warnings(folder: Path, left_out: list[str], outside: list[str]) -> list[str]:
    found = []
    if outside:
        found.append(f"not copied, since they are links to files outside of {folder}: {listed(outside)}")
    if ADAPTER_FILE in left_out:
        found.append(
            f"{folder} holds an adapter ({ADAPTER_FILE}) beside the model's weights: it is neither applied nor copied"
        )
    return found
