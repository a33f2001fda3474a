"""Where a model folder may be made: never in the place of anything that somebody might miss."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from salt_ext.checkpoint.layout import INDEX_FILE, PICKLED_INDEX_FILE, read_index
from salt_ext.checkpoint.model_code import model_code
from salt_ext.checkpoint.names import OWN_FILES, REPORT_FILE, is_needed, is_readme, is_tokenizer, is_weights
from salt_ext.checkpoint.staging import staging_folder
from salt_ext.display.listing import listed
from salt_ext.errors import InputError, OutputError
from salt_ext.files.paths import expanded

# No name that is written into the folder makes a path longer than this one.
_LONGEST_INSIDE = Path("x" * 100, "x" * 100)
# More chat templates of the tokenizer, and what the hub's client notes of a download.
_SUBFOLDERS = {"additional_chat_templates": "*.jinja", ".cache": "huggingface"}


def check_output(output: Path, *, inputs: Sequence[Path], force: bool) -> Path:
    """Checks, before any work, that `output` can become a model folder; touches nothing.

    Args:
        output: the folder to make.
        inputs: files and folders that are read and must survive; those that are missing do not count.
        force: whether an existing model folder may be replaced.

    Returns:
        The absolute path of the output, symbolic links resolved.

    Raises:
        OutputError: it exists (with `force`: and `require_replaceable` refuses it), it is one of the inputs or lies
            inside one or around one, its parent is missing or not writable, or its name is longer than the file system
            takes or leads nowhere.
    """
    resolved = _resolved(output)
    for given in inputs:
        _require_apart(resolved, given, output)
    if os.path.lexists(resolved):
        if not force:
            raise OutputError(f"the output {output} exists already; choose another folder or use force to replace it")
        require_replaceable(resolved, shown=output)
    parent = resolved.parent
    if not parent.is_dir():
        raise OutputError(f"the output {output} cannot be made: there is no folder {parent}")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"the output {output} cannot be made: the folder {parent} is not writable")
    return resolved


def require_replaceable(folder: Path, *, shown: Path | None = None) -> None:
    """Checks that what lies in an output's place may be deleted for it.

    That is an empty folder, and a folder with a config.json in which nothing lies but files of a model by their names.
    Where salt-ext made the folder, by its own report, what the report says it copied may lie there too, and empty
    files: a training that wrote its checkpoints there, or notes, are still not this tool's to delete.

    Args:
        folder: the existing output.
        shown: what to call it in messages.

    Raises:
        OutputError: it is no such folder; the message names some of what lies there.
    """
    name = shown or folder
    refused = "so even force does not replace it; choose another folder, or move away what is to be kept"
    try:
        entries = sorted(folder.iterdir())
    except NotADirectoryError:
        raise OutputError(f"the output {name} exists and is not a model folder, {refused}") from None
    except OSError as error:
        raise OutputError(f"the output {name} cannot be read: {error.strerror}") from error
    if not entries:
        return
    if not (folder / "config.json").is_file():
        held = listed([entry.name for entry in entries])
        raise OutputError(f"the output {name} is not a model folder (it holds {held}), {refused}")
    copied = _reported(folder / REPORT_FILE)
    known = _known_names(folder) | (copied or set())
    others = [
        entry.name
        for entry in entries
        if not _is_of_a_model(entry, known) and (copied is None or not _is_empty_file(entry))
    ]
    if others:
        raise OutputError(f"the output {name} holds more than a model ({listed(others)}), {refused}")


def check_space(output: Path, needed: int) -> None:
    """Checks that the disk of `output` has room.

    Raises:
        OutputError: fewer than `needed` bytes are free.
    """
    free = shutil.disk_usage(output.parent).free
    if free < needed:
        raise OutputError(f"the disk of {output} is too full: {_size(needed)} are needed, {_size(free)} are free")


def _resolved(output: Path) -> Path:
    """Absolute, without links; checked for what no file system could make of it."""
    try:
        resolved = Path(os.path.realpath(expanded(output)))
        if resolved.is_symlink():
            raise OutputError(f"the output {output} is a symbolic link that leads to itself")
        os.lstat(resolved)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"the output {output} cannot be made: {getattr(error, 'strerror', None) or error}") from None
    try:
        os.lstat(staging_folder(resolved) / _LONGEST_INSIDE)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise OutputError(f"the output {output} cannot be made: {error.strerror}") from None
    return resolved


def _require_apart(output: Path, given: Path, shown: Path) -> None:
    real = Path(os.path.realpath(expanded(given)))
    model = "the model " if (real / "config.json").is_file() else ""
    apart = f"the output {shown} must lie apart from {model}{given} that it is made from"
    if not real.exists():
        return
    if output == real or output in real.parents or (real.is_dir() and real in output.parents):
        raise OutputError(apart)
    # A model's files may be links to files elsewhere.
    for target in _link_targets(real):
        if output == target or output in target.parents:
            raise OutputError(f"{apart}: it holds {target}, which a link in there leads to")


def _link_targets(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        for entry in folder.iterdir():
            if entry.is_symlink():
                yield Path(os.path.realpath(entry))


def _known_names(folder: Path) -> set[str]:
    """Names in a model folder that only its own files explain: code and shards."""
    known = model_code(folder)
    for index in (INDEX_FILE, PICKLED_INDEX_FILE):
        try:
            known |= set((read_index(folder / index).shards or {}).values())
        except InputError:  # there is none, or it says nothing
            continue
    return known


def _reported(file: Path) -> set[str] | None:
    """The files that a report of salt-ext says were copied beside it; None where it is no such report."""
    try:
        report = json.loads(file.read_bytes()) if file.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(report, dict) or report.get("made_by") != "salt-ext":
        return None
    files = report.get("files")
    copied = files.get("copied") if isinstance(files, dict) else None
    return {name for name in copied if isinstance(name, str)} if isinstance(copied, list) else set()


def _is_empty_file(entry: Path) -> bool:
    status = entry.lstat()
    return stat.S_ISREG(status.st_mode) and status.st_size == 0


def _is_of_a_model(entry: Path, known: set[str]) -> bool:
    name = entry.name
    if entry.is_dir() and not entry.is_symlink():
        return name in _SUBFOLDERS and all(inner.match(_SUBFOLDERS[name]) for inner in entry.iterdir())
    named = name in OWN_FILES or name in known or name == ".gitattributes"
    return named or is_needed(name) or is_tokenizer(name) or is_readme(name) or is_weights(name)


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 10**8 else f"{count / 1e6:.2f} MB"
