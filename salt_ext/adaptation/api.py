"""adapt_model(): a model folder and texts to a trained folder."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from salt_ext.adaptation.arguments import read_config
from salt_ext.adaptation.needs import require
from salt_ext.adaptation.options import AdaptOptions
from salt_ext.adaptation.phases import ROWS
from salt_ext.errors import InputError
from salt_ext.runtime.machine import cpu_threads
from salt_ext.runtime.progress import Clock, Watching, watched, without_progress_bars


@dataclass(frozen=True)
class AdaptationResult:
    """What a training made.

    Attributes:
        output: the trained model's folder.
        report: options, texts, phases and figures; also in the folder, as salt_adaptation.json.
        curve: the lines of salt_curve.jsonl, see `salt_ext.adaptation.curve`.
    """

    output: Path
    report: dict[str, Any]
    curve: list[dict[str, Any]]


def adapt_model(
    model: str | Path,
    text: Sequence[str | Path],
    output: str | Path,
    options: AdaptOptions | None = None,
    *,
    force: bool = False,
    progress: Watching = None,
    log: Callable[[str], None] | None = None,
    **changes: Any,
) -> AdaptationResult:
    """Trains a moved model on text of its new language (Lee et al. 2025, section 3, step 5).

    By default the vocabulary's tables learn first and alone, then all weights; each phase has a linear warm-up over a
    tenth of its steps, a cosine to zero, and an AdamW of its own. transformers' Trainer and accelerate train, in
    float32 with products in bfloat16 where the machine has it; under `accelerate launch` they do so with several
    processes. Bits per byte of held-out text (`salt_ext.evaluation.text`) are measured before, on the way and behind.

    Checkpoints and the curve lie in OUTPUT.unfinished until the output is there; where that folder is found, with the
    same inputs, the training goes on behind the last complete checkpoint: with one process to the same figures, bit
    for bit.

    Args:
        model: folder or hub name of a causal language model, such as `salt_ext.transfer` makes.
        text: what is trained on, see `AdaptOptions` for what a text can be.
        output: the folder to make; it appears complete or not at all.
        options: how; None for every default.
        force: replace an existing output.
        progress: a function that is called with every step: (step, units done, units in all or 0); False for silence,
            True for bars, None for bars in a notebook and on a terminal only.
        log: called with a sentence for every measurement.
        changes: options by name, in place of those in `options`: `adapt_model(model, text, output, tokens=10**7)`.

    Returns:
        The folder, the report and the curve.

    Raises:
        InputError: something that was given cannot be used, a package is missing, or the training came to figures that
            are not finite.
        OutputError: the output exists or cannot be written, or a checkpoint cannot; what was complete is kept.
        TypeError: there is no option of that name.
    """
    options = AdaptOptions(**changes) if options is None else replace(options, **changes)
    if isinstance(text, str | Path) or not text:
        raise InputError(f"text is {text!r:.80}, expected a list of at least one text")
    require("accelerate", "datasets", what="adapt")
    if options.lora is not None or any(phase.trains == ROWS for phase in options.all_phases):
        require("peft", what="what is given (lora, or the phase rows)")
    if options.tensorboard is not None:
        require("tensorboard", what="tensorboard")
    config = _config(options)
    from salt_ext.adaptation.run import Run

    with cpu_threads(options.threads), _own_random_numbers(), without_progress_bars(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # which the libraries write to each other
        run = Run.open(model, text, output, options, config, force=force)
        with watched(progress if run.is_main else False, rate="tokens") as callback:
            report, curve = run.do(Clock(callback), log or (lambda sentence: None))
    return AdaptationResult(run.output, report, curve.lines)


def _config(options: AdaptOptions) -> dict[str, Any]:
    """What the user said in transformers' names, with ours of them in their place."""
    config = read_config(options.config)
    for own, name, value in (("lr", "learning_rate", options.lr), ("seed", "seed", options.seed)):
        if value is not None and name in config:
            raise InputError(f"{own} is {value}, and config has {name}: expected one of them")
        if value is not None:
            config[name] = value
    return config


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    """A trainer seeds all generators; whoever calls gets his own back."""
    before = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
