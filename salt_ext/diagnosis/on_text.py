"""What the models make of the texts: costs, controls, and states beside the source's, one model in memory or two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from salt_ext.checkpoint.folder import Checkpoint
from salt_ext.diagnosis.states import States, compare_states
from salt_ext.diagnosis.subject import Subject
from salt_ext.diagnosis.text import Text
from salt_ext.diagnosis.text_cost import Cost, TextMeter
from salt_ext.errors import InputError
from salt_ext.evaluation.opening import causal_config, context_of, open_causal
from salt_ext.evaluation.precision import fast_dtype
from salt_ext.runtime.machine import available_memory
from salt_ext.runtime.progress import Clock

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from salt_ext.pair.pair import Model

_BYTES_PER_WEIGHT = 4  # models are measured in float32
# What a pass takes besides: a window's logits and states.
_SPARE = 1 << 30


@dataclass(frozen=True)
class OnText:
    """What was measured; None is left out.

    Attributes:
        new: the text in the new language.
        old: the text in the source's language.
        states: the moved model's states beside the source's, on the text in the new language.
    """

    new: Cost | None
    old: Cost | None
    states: States | None


def measure_texts(
    subject: Subject,
    source: Model | None,
    text: Text | None,
    source_text: Text | None,
    *,
    device: torch.device,
    trust_remote_code: bool,
    clock: Clock,
    left_out: dict[str, str],
) -> OnText:
    """Runs the moved model and the source on the texts.

    Args:
        subject: the moved model.
        source: its source; None where it is missing.
        text: in the new language.
        source_text: in the source's language.
        device: where the models run.
        trust_remote_code: whether Python code that comes with them may run.
        clock: notified of every step.
        left_out: what could not be measured is added here, with the reason.
    """
    nothing = OnText(None, None, None)
    if text is None and source_text is None:
        left_out["bits per byte"] = "no --text is given"
        return nothing
    try:
        config = causal_config(subject.checkpoint.folder, trust=trust_remote_code)
        context = context_of(config)
        _check_memory([subject.checkpoint] + ([source.checkpoint] if source is not None else []), device)
        with clock.step("open the models to run them"):
            moved = open_causal(subject.folder, trust=trust_remote_code, device=device)
            teacher = None
            if source is not None:
                teacher = open_causal(source.checkpoint.folder, trust=trust_remote_code, device=device)
    except InputError as error:
        left_out["bits per byte"] = str(error)
        return nothing
    dtype = fast_dtype(device)
    costs = [
        _cost(subject, moved, source, teacher, each, context, dtype, clock, controls=each is text)
        for each in (text, source_text)
    ]
    states = None
    if text is not None and source is not None and teacher is not None:
        with clock.step("compare states with the source's"):
            try:
                states = compare_states(
                    subject,
                    moved,
                    teacher,
                    source.tokenizer,
                    text.passages(),
                    context=context,
                    dtype=dtype,
                    progress=clock.advance,
                )
            except InputError as error:
                left_out["states layer by layer"] = str(error)
    return OnText(costs[0], costs[1], states)


def _cost(
    subject: Subject,
    moved: PreTrainedModel,
    source: Model | None,
    teacher: PreTrainedModel | None,
    text: Text | None,
    context: int,
    dtype: torch.dtype,
    clock: Clock,
    *,
    controls: bool,
) -> Cost | None:
    if text is None:
        return None
    with clock.step("measure bits per byte"):
        meter = TextMeter(text.measured, context=context, dtype=dtype)
        meter.moved(subject, moved, controls=controls)
        if source is not None and teacher is not None:
            meter.source(teacher, source.tokenizer)
        return meter.cost


def _check_memory(checkpoints: list[Checkpoint], device: torch.device) -> None:
    if device.type != "cpu":
        return
    weights = sum(torch.Size(info.shape).numel() for each in checkpoints for info in each.tensors.values())
    needed, free = weights * _BYTES_PER_WEIGHT + _SPARE, available_memory()
    if needed > free:
        raise InputError(f"the models take about {needed / 1e9:.1f} GB to run, {free / 1e9:.1f} GB are free")
