"""Every option of a training, one object from the command line to the report, checked before any work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from salt_ext.adaptation.phases import ALL, ROWS, Phase, phases_of
from salt_ext.checkpoint.convert import named_dtype
from salt_ext.errors import InputError

_DTYPES = ("bfloat16", "float16", "float32")


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """How a model is trained on. Texts are files (UTF-8, a document a line; .jsonl, .csv and .parquet with a column
    `text`), folders that `datasets` opens, or hub names, NAME or NAME:CONFIGURATION.

    Attributes:
        tokens: to train on, a fifth of them by the vocabulary's tables alone, then all weights.
        phases: what learns for how many tokens, in place of `tokens`: `Phase` objects, or "vocabulary=2000,all=8000".
        eval_text: what bits per byte are measured on; a line of it that is in the training text is refused. None: one
            document in fifty of the text is left out for it.
        source_text: text in the source's language, measured on as well: one document in fifty of it.
        source_eval_text: what is measured in its place.
        replay: share of the training's windows that are of `source_text`, from 0 to 0.9.
        drop_overlap: leave documents out of the training that hold a line of the evaluation, in place of a refusal.
        eval_bytes: measure on no more of each language.
        context: tokens that are read at once; None for 512, or what the model can.
        tokens_per_step: of all processes together; None for 8,192, or what `config` says.
        lr: the highest learning rate; None for what `config` says, else 3e-4.
        seed: of the order of the text and all that is drawn; None for what `config` says, else 0.
        lora: rank of adapters that train the body in its place (peft); None for the weights themselves.
        adapters: write the adapters (and the trained tables) alone, not a whole model.
        config: a YAML file with names of transformers' `TrainingArguments`, or such names and values.
        dtype: "bfloat16", "float16" or "float32" of the trained model's weights; None for the model's own.
        tensorboard: a folder for TensorBoard's files; None for none.
        cache: where texts are kept as tokens, to be found again; None for a folder of the datasets library's cache.
        threads: CPU threads; None for torch's own choice.
        trust_remote_code: whether Python code that comes with the model may run.

    Raises:
        InputError: a value is out of its range.
    """

    tokens: int | None = None
    phases: str | Iterable[Phase] | None = None
    eval_text: Sequence[str | Path] = ()
    source_text: Sequence[str | Path] = ()
    source_eval_text: Sequence[str | Path] = ()
    replay: float = 0.0
    drop_overlap: bool = False
    eval_bytes: int = 100_000
    context: int | None = None
    tokens_per_step: int | None = None
    lr: float | None = None
    seed: int | None = None
    lora: int | None = None
    adapters: bool = False
    config: str | Path | dict[str, Any] = field(default_factory=dict)
    dtype: str | torch.dtype | None = None
    tensorboard: str | Path | None = None
    cache: str | Path | None = None
    threads: int | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        if self.phases is not None and not isinstance(self.phases, str):
            object.__setattr__(self, "phases", tuple(self.phases))  # an iterator is read once
        _ = self.all_phases, self.torch_dtype
        for name in ("eval_text", "source_text", "source_eval_text"):
            if isinstance(getattr(self, name), str | Path):
                raise InputError(f"{name} is {str(getattr(self, name))!r}, expected a list of texts")
        for name in ("eval_bytes", "context", "tokens_per_step", "lora", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}, expected a whole number of at least 1")
        if self.context == 1:
            raise InputError("context is 1, expected at least 2: the last token of a window is not trained to go on")
        if not 0 <= self.replay <= 0.9:
            raise InputError(f"replay is {self.replay}, expected a share from 0 to 0.9")
        if self.replay and not self.source_text:
            raise InputError("replay is given, but no text in the source's language (source_text)")
        if self.lr is not None and not 0 < self.lr < 1:
            raise InputError(f"lr is {self.lr}, expected a number between 0 and 1")
        if self.seed is not None and not 0 <= self.seed < 2**32:
            raise InputError(f"seed is {self.seed}, expected a whole number from 0 to 2**32 - 1")
        self._check_adapters()

    @cached_property
    def all_phases(self) -> tuple[Phase, ...]:
        """The phases, in order."""
        return phases_of(self.tokens, self.phases)

    @cached_property
    def torch_dtype(self) -> torch.dtype | None:
        """The dtype of the output, None for the model's own."""
        return named_dtype(self.dtype, _DTYPES)

    def as_json(self) -> dict[str, Any]:
        """For the report and for the record of an unfinished run: every option as it was given."""
        given = asdict(self)
        given["phases"] = [asdict(phase) for phase in self.all_phases]
        return {name: _plain(value) for name, value in given.items() if name != "tokens"}

    def _check_adapters(self) -> None:
        kinds = [phase.trains for phase in self.all_phases]
        if self.lora is not None and ALL not in kinds:
            raise InputError(f"lora is {self.lora}, but no phase trains all weights, which it stands for")
        if not self.adapters:
            return
        alone = kinds == [ROWS] or (self.lora is not None and kinds.index(ALL) == len(kinds) - 1)
        if not alone:
            raise InputError(
                "adapters is given, expected lora with one last phase that trains all, or the single phase rows: what "
                "else is trained is no adapter"
            )


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return value if isinstance(value, str | int | float | type(None)) else str(value)
