"""What the user asks of a transfer besides the two models and the output, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args

import torch

from salt_ext.errors import InputError
from salt_ext.methods import Method, make_method
from salt_ext.pair.pair import PairOptions
from salt_ext.runtime.device import choose_device
from salt_ext.vectors import file_of
from salt_ext.vocab import Level

DONOR_AUX = "donor"
AUTO_METHOD = "auto"
_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every option of `salt_ext.transfer`; what each means stands there.

    Raises:
        InputError: a value is out of its range.
    """

    method: str
    options: Mapping[str, Any]
    text: Sequence[str | Path]
    time_limit: float
    aux: str
    seed: int
    match: Level
    models: PairOptions
    pad_to_multiple_of: int | None
    rows: int | None
    dtype: str | torch.dtype | None
    link: bool
    device: str
    threads: int | None

    def __post_init__(self) -> None:
        self._check_method()
        self.torch_dtype()
        self.torch_device()
        if isinstance(self.seed, bool) or not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}, expected a whole number from 0 to 2**63 - 1")
        if self.match not in get_args(Level):
            raise InputError(f"match is {self.match!r}, expected one of {', '.join(get_args(Level))}")
        if self.rows is not None and self.pad_to_multiple_of is not None:
            raise InputError(f"rows is {self.rows}: expected no pad_to_multiple_of beside it")
        for name in ("threads", "pad_to_multiple_of", "rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}, expected a whole number of at least 1")

    def make_method(self) -> Method | None:
        """The method with its options; None where it is still to be chosen."""
        return None if self.method == AUTO_METHOD else make_method(self.method, self.options)

    def torch_dtype(self) -> torch.dtype | None:
        """The dtype to convert to, None for none."""
        name = str(self.dtype).removeprefix("torch.")
        if self.dtype is not None and name not in _DTYPES:
            raise InputError(f"dtype is {name}, expected one of {', '.join(_DTYPES)}")
        return _DTYPES.get(name)

    def torch_device(self) -> torch.device:
        """Where the ops run."""
        return choose_device(self.device)

    def input_paths(self) -> list[Path]:
        """All files and folders that the options name, whether or not they exist; the two models are not among them."""
        method: Any = self.make_method()
        chosen = [] if method is None else [getattr(method, option.name) for option in fields(method)]
        given = [path for path in (self.models.tokenizer, self.models.token_map, *self.text) if path is not None]
        given += [value for value in chosen if isinstance(value, Path)]
        given += [file for spec in (self.aux, *chosen) if (file := file_of(spec)) is not None]
        return [Path(path) for path in given]

    def as_json(self) -> dict[str, Any]:
        """For the report: every option as it was given."""
        given = asdict(self)
        given |= given.pop("models")
        texts = ", ".join(map(str, given.pop("text"))) or None
        given |= {"options": None} | given.pop("options")
        if self.method == AUTO_METHOD:
            given["text"] = texts
        plain = (str, int, float, type(None))
        return {name: value if isinstance(value, plain) else str(value) for name, value in given.items()}

    def _check_method(self) -> None:
        if isinstance(self.text, str | Path):
            raise InputError(f"text is {str(self.text)!r}, expected a list of files")
        if not 0 <= self.time_limit < float("inf"):
            raise InputError(f"time_limit is {self.time_limit}, expected seconds, at least 0")
        if self.make_method() is None:
            if self.options:
                named = ", ".join(self.options)
                raise InputError(
                    f"method is {AUTO_METHOD!r}, which chooses options, too: name the method that {named} is meant for"
                )
        elif self.text:
            raise InputError(
                f"text is given, which method {AUTO_METHOD!r} chooses by, but method is {self.method!r}: expected none"
            )
