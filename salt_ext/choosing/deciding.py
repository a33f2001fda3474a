"""Which method a transfer takes: the best of a trial where there are a text, time and a source that runs, else a
rule's."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import torch

from salt_ext.choosing.decision import Decision, Tried
from salt_ext.choosing.rule import CONTROL, candidates, rule
from salt_ext.choosing.sample import Sample, Streams
from salt_ext.choosing.trial import Trial
from salt_ext.comparison.body import Body
from salt_ext.comparison.method_spec import MethodSpec
from salt_ext.errors import InputError, brief
from salt_ext.evaluation.opening import LONGEST_CONTEXT
from salt_ext.methods import MethodInputs
from salt_ext.methods.core.neighbours import MINIMUM_KEYS, too_few
from salt_ext.pair.pair import Pair
from salt_ext.runtime.device import free_memory
from salt_ext.runtime.machine import available_memory, give_memory_back
from salt_ext.runtime.progress import Clock

# Of the memory that is there; the rest is for the logits and for whoever else runs.
_SHARE_OF_MEMORY = 0.8
# Bits per byte: starts that differ by less have ended in any order.
_ABOUT_AS_GOOD = 0.02
# Bytes a parameter: the body in float32; its gradient, AdamW's two moments, and a copy of where it began.
_BODY, _TRAINING = 4, 16


def decide(
    pair: Pair,
    material: MethodInputs,
    *,
    rows_known: bool,
    rows: int,
    sample: Sample | None,
    time_limit: float,
    device: torch.device,
    clock: Clock,
) -> Decision:
    """Chooses a method.

    Args:
        pair: the models.
        material: what methods are given.
        rows_known: whether there are donor rows, or vectors that stand in for them.
        rows: of the new tables.
        sample: text in the new language; None for none, where the rule decides.
        time_limit: seconds for the trial, counted from now; 0 for none.
        device: where the source runs.
        clock: notified of every step.

    Raises:
        InputError: the vocabularies share nothing, or the text is too short to measure on.
    """
    begun = time.perf_counter()
    if (shared := int(material.text_anchors.sum())) < MINIMUM_KEYS:
        raise too_few(material.anchors, shared, "a row", "auto (subword, named, needs none)")
    if sample is None:
        return _by_rule(rows_known, None)
    body, lack = _open(pair, material, device, rows)
    with clock.step("encode the text"):
        streams = sample.encode(pair, context=LONGEST_CONTEXT if body is None else body.context)
    facts = {"text": {"files": list(sample.files), **streams.facts}, "time_limit": time_limit}
    ruled = replace(_by_rule(rows_known, streams), facts=facts, warnings=tuple(streams.warnings))
    if not time_limit:
        return ruled
    if body is None:
        return _without_trial(ruled, lack)
    streams.require_length(body.context)
    only_new_rows = (_BODY + _TRAINING) * _parameters(pair, rows) > _SHARE_OF_MEMORY * _free(device)
    trial = Trial(body, material, streams, rows, begun + time_limit, clock, only_new_rows)
    try:
        labels = dict.fromkeys([ruled.method, *candidates(rows=rows_known)])
        tried = trial.run([MethodSpec.of(label) for label in labels])
    except Exception as error:  # code of a model: it may fail in any way
        return _without_trial(ruled, f"{type(error).__name__}: {brief(error)}")
    finally:
        body.close()
        give_memory_back()
    facts |= trial.facts | {"seconds": round(time.perf_counter() - begun, 2)}
    return _best(replace(ruled, facts=facts, tried=tuple(tried)))


def _by_rule(rows_known: bool, streams: Streams | None) -> Decision:
    label, why = rule(rows=rows_known, bytes_per_token=None if streams is None else streams.bytes_per_source_token)
    return Decision(label, f"by rule: {why}")


def _open(pair: Pair, material: MethodInputs, device: torch.device, rows: int) -> tuple[Body | None, str]:
    """The source's body, or why it cannot be run."""
    needed, free = _BODY * _parameters(pair, rows), _free(device)
    if needed > _SHARE_OF_MEMORY * free:
        return None, f"the source takes {needed / 1e9:.1f} GB to run, and {free / 1e9:.1f} GB are free on {device}"
    try:
        return Body.open(pair, material.anchors, device=device), ""
    except InputError as error:
        return None, str(error)


def _best(ruled: Decision) -> Decision:
    """The rule's decision with the best of the trial in its place.

    A start tells little of what a training makes of it, so that without one the rule stays where it is about as good.
    """
    best = ruled.tried[0]
    if best.bits_per_byte is None:
        return _without_trial(ruled, best.note)
    if best.method == CONTROL:
        sentence = "auto: no method starts better than the mean row, which is taken: expect little of this pair"
        return replace(ruled, method=CONTROL, why=_why(ruled.tried), warnings=(*ruled.warnings, sentence))
    own = next(each.bits_per_byte for each in ruled.tried if each.method == ruled.method)
    if best.trained is None and own is not None and own <= best.bits_per_byte + _ABOUT_AS_GOOD:
        start = f"{own:.3f} bits per byte, the best {best.bits_per_byte:.3f}"
        return replace(ruled, why=f"{ruled.why}; untrained it is about as good as the best tried: {start}")
    return replace(ruled, method=best.method, why=_why(ruled.tried))


def _why(tried: tuple[Tried, ...]) -> str:
    trained = tried[0].trained is not None
    when = "after an equal short training" if trained else "before any training"
    figures = [each.trained if trained else each.bits_per_byte for each in tried]
    known = [figure for figure in figures if figure is not None]
    behind = f", the next {known[1]:.3f}" if len(known) > 1 else ""
    return f"the fewest bits per byte of {len(known)} methods {when}: {known[0]:.3f}{behind}"


def _without_trial(ruled: Decision, reason: str) -> Decision:
    sentence = f"auto could not try methods on the source, and takes what its rule says ({ruled.method}): {reason}"
    return replace(ruled, warnings=(*ruled.warnings, sentence))


def _parameters(pair: Pair, rows: int) -> int:
    """Of the moved model, in about: its tables have other rows than the source's."""
    checkpoint = pair.source.checkpoint
    sizes = {name: math.prod(tensor.shape) for name, tensor in checkpoint.tensors.items()}
    tables = sum(sizes[name] for name in checkpoint.vocabulary_tensors().names)
    return sum(sizes.values()) - tables + tables * rows // checkpoint.rows


def _free(device: torch.device) -> int:
    return free_memory(device) if device.type == "cuda" else available_memory()
