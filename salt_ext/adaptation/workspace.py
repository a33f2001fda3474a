"""The folder beside an output in which its training lies until it is done: checkpoints, curve, and what it is of."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salt_ext.adaptation.curve import Curve
from salt_ext.checkpoint.names import CURVE_FILE
from salt_ext.errors import OutputError
from salt_ext.files.json_text import json_text, read_json
from salt_ext.files.output_file import write_anew

_INPUTS_FILE = "inputs.json"
_MARK = "salt-ext adapt"


class Workspace:
    """An unfinished training. Use `Workspace.open`.

    Attributes:
        folder: OUT.unfinished.
        found: whether an earlier run left it.
    """

    def __init__(self, folder: Path, *, found: bool) -> None:
        self.folder = folder
        self.found = found

    @staticmethod
    def place(output: Path) -> Path:
        """The folder for an output."""
        return output.with_name(f"{output.name}.unfinished")

    @classmethod
    def open(cls, output: Path, inputs: Mapping[str, Any]) -> Workspace:
        """Begins one, or goes on with what an earlier run with the same inputs left.

        Args:
            output: what is trained.
            inputs: all that the result depends on, JSON values.

        Raises:
            OutputError: the folder is of other inputs, or no training's, or cannot be made.
        """
        folder = cls.place(output)
        file = folder / _INPUTS_FILE
        if file.is_file():
            try:
                old = read_json(file.read_bytes())[_MARK]
            except (OSError, ValueError, KeyError, TypeError):
                raise OutputError(f"{folder} is no training's; choose another output, or move it away") from None
            new = json.loads(json.dumps(inputs))
            if old != new and not any(folder.glob("phase-*/*")):
                shutil.rmtree(folder, ignore_errors=True)  # nothing was trained
                return cls.open(output, inputs)
            if old != new:
                other = ", ".join(sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)))
                raise OutputError(
                    f"{folder} holds an unfinished training of other inputs ({other}); choose another output, or "
                    f"remove that folder"
                )
            return cls(folder, found=True)
        if os.path.lexists(folder) and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"{folder} exists and is no training's; choose another output, or move it away")
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder} cannot be made: {error.strerror}") from error
        write_anew(file, json_text({_MARK: dict(inputs)}).encode(), what="what the training is of")
        return cls(folder, found=False)

    def phase(self, number: int) -> Path:
        """The folder of a phase, from 1."""
        return self.folder / f"phase-{number}"

    def result(self, number: int) -> Path:
        """The model behind a phase, float32; it appears when it is whole."""
        return self.phase(number) / "model"

    def adapter(self, number: int) -> Path:
        """What peft trained in a phase."""
        return self.phase(number) / "adapter"

    def curve(self) -> Curve:
        """Of the whole training."""
        return Curve(self.folder / CURVE_FILE)

    def remove(self) -> None:
        """The output holds all that is wanted of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
