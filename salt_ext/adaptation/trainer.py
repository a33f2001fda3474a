"""transformers' `Trainer`, told what to measure, where its figures go, and which of its checkpoints can be trusted."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from salt_ext.adaptation.checkpoints import last_complete, mark_complete, remove_old
from salt_ext.adaptation.curve import Curve
from salt_ext.display.duration import duration
from salt_ext.errors import InputError, OutputError, brief
from salt_ext.evaluation.measuring import measure_stream
from salt_ext.evaluation.token_stream import TokenStream


@dataclass
class Place:
    """Where a phase stands in the training.

    Attributes:
        number: from 1.
        trains: see `Phase`.
        steps: updates of the phase.
        tokens_before: those that earlier phases have read.
        tokens_per_step: of all processes together.
        tokens_in_all: of all phases.
    """

    number: int
    trains: str
    steps: int
    tokens_before: int
    tokens_per_step: int
    tokens_in_all: int

    def tokens(self, step: int) -> int:
        """Read so far in the whole training."""
        return self.tokens_before + step * self.tokens_per_step


class PhaseTrainer(Trainer):
    """A `Trainer` that measures bits per byte, and marks the checkpoints that are whole.

    Attributes:
        held_out: what is measured, by the prefix of its figures.
        context: tokens that are read at once.
        keep: checkpoints that stay when a new one is whole, that one among them.
    """

    def __init__(self, *, held_out: Mapping[str, TokenStream], context: int, keep: int, **arguments: Any) -> None:
        super().__init__(data_collator=_collate, **arguments)
        self.remove_callback(PrinterCallback)  # the curve has its lines
        self.held_out = held_out
        self.context = context
        self.keep = keep

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Bits per byte, and nats per token, of every text; each process measures all of it."""
        dtype = torch.bfloat16 if self.args.bf16 else torch.float16 if self.args.fp16 else None
        figures = {}
        model: Any = self.model
        for prefix, stream in self.held_out.items():
            score = measure_stream(model, stream, context=self.context, dtype=dtype)
            figures[f"{prefix}bits_per_byte"] = score.bits_per_byte
            figures[f"{prefix}eval_loss"] = score.bits * math.log(2) / score.tokens
        self.log(figures)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(str(self.args.output_dir))
        made = folder / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                mark_complete(made)
                remove_old(folder, keep=self.keep)
        except (OSError, RuntimeError, SafetensorError) as error:
            if self.args.should_save:
                shutil.rmtree(made, ignore_errors=True)
            kept = last_complete(folder)
            raise OutputError(
                f"the checkpoint of step {self.state.global_step} cannot be written to {folder}: {brief(error)}; "
                f"{_whats_kept(kept)}"
            ) from error


class Recorder(TrainerCallback):
    """Writes the curve, tells how far the training is, and ends one whose figures are not finite.

    Args:
        curve: of the whole training.
        place: of the phase.
        advance: called with (tokens read, tokens in all).
        log: called with a sentence for every measurement.
    """

    def __init__(
        self, curve: Curve, place: Place, *, advance: Callable[[int, int], None], log: Callable[[str], None]
    ) -> None:
        self._curve, self._place, self._advance, self._log = curve, place, advance, log
        self._seconds = self._told = curve.seconds
        self._told_tokens = self._begun_tokens = 0
        self._begun_seconds = self._seconds
        self._since = time.perf_counter()

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Counts from here."""
        self._told_tokens = self._begun_tokens = self._place.tokens(state.global_step)

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """An update begins."""
        self._since = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """An update is made."""
        self._seconds += time.perf_counter() - self._since
        self._advance(self._place.tokens(state.global_step), self._place.tokens_in_all)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Figures have come: of training, or of measuring; what transformers sums up at the end is left out."""
        logs = logs or {}
        if not {"loss", "bits_per_byte"} & logs.keys():
            return
        figures = {name: float(value) for name, value in logs.items() if name != "epoch"}
        if args.fp16 and not math.isfinite(figures.get("grad_norm", 0.0)):
            del figures["grad_norm"]  # such a step is left out, and the scale of the next is smaller
        wrong = next((name for name, value in figures.items() if not math.isfinite(value)), None)
        if wrong is not None:
            kept = last_complete(Path(str(args.output_dir)))
            raise InputError(
                f"the training came to {wrong} = {figures[wrong]} at step {state.global_step} of phase "
                f"{self._place.number} ({self._place.trains}) and was ended; {_whats_kept(kept)}; a smaller learning "
                f"rate (lr) may help, into another output"
            )
        if not state.is_world_process_zero:
            return
        tokens = self._place.tokens(state.global_step)
        line: dict[str, Any] = {
            "phase": self._place.number,
            "trains": self._place.trains,
            "step": state.global_step,
            "tokens": tokens,
            "seconds": round(self._seconds, 3),
            **figures,
        }
        if "loss" in figures:
            line["tokens_per_second"] = round((tokens - self._told_tokens) / max(1e-9, self._seconds - self._told), 1)
            self._told, self._told_tokens = self._seconds, tokens
        else:
            self._log(self._sentence(state.global_step, figures))
        self._curve.add(line)

    def _sentence(self, step: int, figures: Mapping[str, float]) -> str:
        found = f"{figures['bits_per_byte']:.4f} bits per byte"
        if "source_bits_per_byte" in figures:
            found += f", {figures['source_bits_per_byte']:.4f} in the source's language"
        tokens = self._place.tokens(step)
        spent = self._seconds - self._begun_seconds
        if tokens > self._begun_tokens and spent > 0:
            speed = (tokens - self._begun_tokens) / spent
            left = duration((self._place.tokens_in_all - tokens) / speed)
            found += f" ({speed:,.0f} tokens/s, about {left} to go)"
        return f"phase {self._place.number} ({self._place.trains}), step {step} of {self._place.steps}: {found}"


def _whats_kept(checkpoint: Path | None) -> str:
    return "there is no checkpoint yet" if checkpoint is None else f"the last good checkpoint is {checkpoint}"


def _collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Windows as a batch; the model itself shifts the labels."""
    ids = torch.stack([torch.as_tensor(row["input_ids"], dtype=torch.int64) for row in rows])
    return {"input_ids": ids, "labels": ids.clone()}
