"""Every option of a transfer, one object from the command line to the report, checked before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import torch

from salt_ext.checkpoint.convert import named_dtype
from salt_ext.errors import InputError
from salt_ext.methods import Method, make_method
from salt_ext.pair.pair import PairOptions
from salt_ext.runtime.device import AUTO, choose_device
from salt_ext.vectors import DONOR_AUX, file_of
from salt_ext.vocab import Level

AUTO_METHOD = "auto"
_DTYPES = ("bfloat16", "float16", "float32", "float64")


@dataclass(frozen=True, kw_only=True)
class TransferOptions(PairOptions):
    """How a model is moved; `PairOptions` has what is said of the two models and the new tokenizer.

    Attributes:
        method: how new rows are made, one of `salt_ext.methods.method_names()`; "auto" for the best that is known for
            what is given, or the best on `text`, see `salt_ext.choosing`; "salt" is the paper's, see `Salt` for what
            to expect of it.
        method_options: options of the method, by name, such as {"ridge": 0.1}; see its class.
        text: UTF-8 files in the new language, a document a line, on which "auto" tries a handful of methods: each
            moved model is measured, and the best of them again after an equal short training.
        time_limit: seconds for that; 0 for none, where a rule decides.
        aux: the auxiliary vectors that choose each new token's neighbours: "donor" (the donor's own table),
            "fasttext:FILE.bin" or "vectors:FILE", see `open_vectors`.
        seed: of everything that is sampled.
        match: how wide anchors are matched: "exact", "case" or "loose", see `match_vocabularies`.
        pad_to_multiple_of: the tables' rows are rounded up to a multiple of this; None for what the source did.
        rows: how many rows the tables shall have, at least one for each id of the new tokenizer; None for as many as
            `pad_to_multiple_of` says.
        dtype: convert all floating weights to "bfloat16", "float16", "float32" or "float64"; None keeps them.
        link: hard-link the files that do not change, where the file system can, instead of copying them.
        device: where the ops run: "auto" for a GPU if there is one that they can use, "cpu", "cuda" or "cuda:N".
        threads: CPU threads; None for torch's own choice.

    Raises:
        InputError: a value is out of its range.
    """

    method: str = AUTO_METHOD
    method_options: Mapping[str, Any] = field(default_factory=dict)
    text: Sequence[str | Path] = ()
    time_limit: float = 600.0
    aux: str = DONOR_AUX
    seed: int = 0
    match: Level = "exact"
    pad_to_multiple_of: int | None = None
    rows: int | None = None
    dtype: str | torch.dtype | None = None
    link: bool = False
    device: str = AUTO
    threads: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_method()
        _ = self.torch_dtype, self.torch_device
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

    @cached_property
    def named_method(self) -> Method | None:
        """The method with its options; None where it is still to be chosen."""
        return None if self.method == AUTO_METHOD else make_method(self.method, self.method_options)

    @cached_property
    def torch_dtype(self) -> torch.dtype | None:
        """The dtype to convert to, None for none."""
        return named_dtype(self.dtype, _DTYPES)

    @cached_property
    def torch_device(self) -> torch.device:
        """Where the ops run."""
        return choose_device(self.device)

    def input_paths(self) -> list[Path]:
        """All files and folders that the options name, whether or not they exist; the two models are not among them."""
        method: Any = self.named_method
        chosen = [] if method is None else [getattr(method, option.name) for option in fields(method)]
        given = [path for path in (self.tokenizer, self.token_map, *self.text) if path is not None]
        given += [value for value in chosen if isinstance(value, Path)]
        given += [file for spec in (self.aux, *chosen) if (file := file_of(spec)) is not None]
        return [Path(path) for path in given]

    def as_json(self) -> dict[str, Any]:
        """For the report: every option as it was given, those of the method beside the others."""
        given = asdict(self)
        texts = ", ".join(map(str, given.pop("text"))) or None
        given |= given.pop("method_options")
        if self.method == AUTO_METHOD:
            given["text"] = texts
        plain = (str, int, float, type(None))
        return {name: value if isinstance(value, plain) else str(value) for name, value in given.items()}

    def _check_method(self) -> None:
        if isinstance(self.text, str | Path):
            raise InputError(f"text is {str(self.text)!r}, expected a list of files")
        if not 0 <= self.time_limit < float("inf"):
            raise InputError(f"time_limit is {self.time_limit}, expected seconds, at least 0")
        if self.named_method is None:
            if self.method_options:
                named = ", ".join(self.method_options)
                raise InputError(
                    f"method is {AUTO_METHOD!r}, which chooses options, too: name the method that {named} is meant for"
                )
        elif self.text:
            raise InputError(
                f"text is given, which method {AUTO_METHOD!r} chooses by, but method is {self.method!r}: expected none"
            )
