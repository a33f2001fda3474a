"""The Python files that a model's configuration refers to, and those that they import."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from salt_ext.checkpoint.layout import read_json_object
from salt_ext.errors import InputError

# The tokenizer's own code is not among them: its tokenizer is replaced.
_CONFIGS = ("config.json", "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
# As transformers itself finds what it has to fetch beside a module.
_IMPORT = re.compile(r"^\s*(?:import\s+\.(\w+)\s*$|from\s+\.(\w+)\s+import\b)", re.MULTILINE)
_FROM_HERE = re.compile(r"^\s*from\s+\.\s+import\s+\(?([\w\s,]+)", re.MULTILINE)
_LARGEST = 16 << 20


def model_code(folder: Path) -> set[str]:
    """Names of the files of a folder that `auto_map` names in its configurations, and of those that they import."""
    found: set[str] = set()
    pending = [module for name in _CONFIGS for module in _mapped(folder / name)]
    while pending:
        name = f"{pending.pop()}.py"
        if name not in found and (folder / name).is_file():
            found.add(name)
            pending += _imported(folder / name)
    return found


def _mapped(file: Path) -> Iterator[str]:
    """The modules of every auto_map in a configuration; those that lie in other repositories are left out."""
    try:
        pending: list[Any] = [read_json_object(file)]
    except InputError:  # missing, or what is wrong with it is told where it is needed
        return
    while pending:
        part = pending.pop()
        pending += [value for value in part.values() if isinstance(value, dict)]
        mapped = part.get("auto_map")
        for value in mapped.values() if isinstance(mapped, dict) else ():
            for reference in value if isinstance(value, list) else [value]:
                if isinstance(reference, str) and "--" not in reference and reference.count(".") == 1:
                    yield reference.partition(".")[0]


def _imported(file: Path) -> list[str]:
    try:
        text = file.read_bytes()[:_LARGEST].decode("utf-8", "replace")
    except OSError:  # told when it is copied
        return []
    names = [first or second for first, second in _IMPORT.findall(text)]
    return names + [name for group in _FROM_HERE.findall(text) for name in re.findall(r"\w+", group)]
