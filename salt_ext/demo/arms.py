"""What SALT is compared with: the same transfer with the new tokens' rows random, or all equal to the mean.

An arm is a checkpoint folder. All arms have the same tokenizer, the same anchors and the same body; only the rows of
tokens that the source does not have differ, and every arm's rows are made by a transfer plan:

    random  drawn from N(mean, std) of the source's rows, each dimension on its own: right in place and in size
    mean    the mean of the source's rows
    SALT    as the transfer made them
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from salt_ext.checkpoint import Checkpoint, write_checkpoint
from salt_ext.checkpoint.names import PLAN_FILE
from salt_ext.evaluation.text import TextScore, adapt, measure
from salt_ext.pair.new_tensors import new_tensors
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.runtime.progress import without_progress_bars
from salt_ext.vocab import load_tokenizer

CONTROLS = {"random": Provenance.SAMPLED, "mean": Provenance.AVERAGED}
SALT = "SALT"


@dataclass(frozen=True)
class Settings:
    """How arms are measured and adapted, each the same; see `measure` and `adapt`."""

    steps: int
    tokens_per_step: int
    lr: float
    context: int
    batch_size: int = 16
    max_bytes: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What a model makes of the held-out text, and what the adapted one does; None without an adaptation."""

    name: str
    before: TextScore
    after: TextScore | None = None

    def as_json(self) -> dict[str, Any]:
        """Figures for a report."""
        return {
            "name": self.name,
            "bits_per_byte": self.before.bits_per_byte,
            "bits_per_byte_adapted": None if self.after is None else self.after.bits_per_byte,
            "tokens": self.before.tokens,
            "bytes": self.before.bytes,
            "documents_altered_by_the_tokenizer": self.before.altered,
        }


def control_plan(plan: TransferPlan, control: str) -> TransferPlan:
    """The plan with every token's row that is not copied made in the way of `CONTROLS[control]`."""
    copied = plan.provenance == Provenance.COPIED
    changed = ~copied & (plan.provenance != Provenance.PADDING)
    kept = torch.repeat_interleave(copied, plan.crow_indices.diff())
    counts = plan.crow_indices.diff() * copied
    return replace(
        plan,
        crow_indices=torch.cat([counts.new_zeros(1), counts.cumsum(0)]),
        col_indices=plan.col_indices[kept],
        values=plan.values[kept],
        provenance=torch.where(changed, int(CONTROLS[control]), plan.provenance).to(torch.uint8),
        residual=torch.full_like(plan.residual, float("nan")),
        metadata=plan.metadata | {"method": control},
    )


def write_control(source: Path, transferred: Path, plan: TransferPlan, output: Path) -> None:
    """Writes the transferred model's folder anew, its rows made by another plan for the same two vocabularies.

    Raises:
        InputError: one of the models cannot be read.
        OutputError: the folder exists or cannot be written.
    """
    checkpoint, made = Checkpoint.open(source), Checkpoint.open(transferred, what="transferred model")
    write_checkpoint(
        checkpoint,
        output,
        tensors=new_tensors(checkpoint, plan),
        config=made.config,
        generation_config=made.generation_config,
        tokenizer=load_tokenizer(transferred),
        extra=lambda folder: plan.save(folder / PLAN_FILE),
        force=False,
    )


@dataclass(frozen=True)
class Candidate:
    """A model to compare, opened."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


def open_candidate(name: str, folder: Path) -> Candidate:
    """Opens a causal language model in float32, without a progress bar. One at a time: transformers needs that."""
    with without_progress_bars():
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return Candidate(name, model, load_tokenizer(folder))


def try_candidate(
    candidate: Candidate,
    *,
    held_out: Sequence[str],
    training: Sequence[str],
    settings: Settings,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Measures a model on the held-out text, adapts it in place by `settings.steps`, and measures again.

    Args:
        candidate: the model; as it comes, if `settings.steps` is 0.
        held_out: documents to measure on.
        training: documents to adapt on.
        settings: the same for all that are compared.
        progress: told (steps done, steps in all) of the adaptation.
    """
    name, model, tokenizer = candidate.name, candidate.model, candidate.tokenizer
    read = partial(
        measure,
        model,
        tokenizer,
        held_out,
        context=settings.context,
        batch_size=settings.batch_size,
        max_bytes=settings.max_bytes,
    )
    before = read()
    if not settings.steps:
        return Outcome(name, before)
    adapt(
        model,
        tokenizer,
        training,
        steps=settings.steps,
        tokens_per_step=settings.tokens_per_step,
        lr=settings.lr,
        seed=settings.seed,
        context=settings.context,
        progress=progress,
    )
    return Outcome(name, before, read())
