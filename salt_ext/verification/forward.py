"""One forward pass of the new model beside the source's, on a text that both vocabularies can spell.

The shared tokens have the source's rows bit for bit and the body is the source's, so the last hidden states must be the
source's bit for bit, and the shared tokens' logits up to the rounding of one product. Whatever else a transfer could
spoil shows here: weights that were damaged on the way, keys that no longer load, token ids in the configuration that
change what the model computes.
"""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers.utils import logging as transformers_logging

from salt_ext.checkpoint.adapters import without_adapter
from salt_ext.checkpoint.architecture import head_of
from salt_ext.checkpoint.layout import find_layout, read_json_object
from salt_ext.checkpoint.model_config import model_config
from salt_ext.errors import OutputError
from salt_ext.runtime.machine import forget_pages
from salt_ext.verification.one_layer import shallow_bytes, shallow_config

_LENGTH = 16
# Larger models are run through their first layer only.
_WHOLE = 1 << 30
# Relative to the largest logit: sums of another order in another dtype stay far below, a wrong row far above.
_LOGIT_TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-3}
_NARROW_TOLERANCE = 2.0**-5
# What the memory allocator of torch gives, and what the matrix libraries need to choose the same kernel every time.
_ALIGNMENT = 64


@dataclass(frozen=True)
class _Pass:
    """What one model computed.

    Attributes:
        hidden: what its head was given, [1, length, hidden].
        logits: of the shared tokens, [length, shared].
        finite: whether all its logits are.
        missing: the parameters that its files do not hold.
        layers: how many layers the model has, where only the first was run; else 0.
    """

    hidden: Tensor
    logits: Tensor
    finite: bool
    missing: frozenset[str]
    layers: int


@dataclass(frozen=True)
class _Options:
    """How a model is loaded.

    Attributes:
        dtype: what its weights are converted to; None where they are kept.
        trust_remote_code: whether code of its folder may run.
        shallow: whether only its first layer is loaded.
    """

    dtype: torch.dtype | None
    trust_remote_code: bool
    shallow: bool


class _InapplicableError(Exception):
    """The check does not apply; the text says why."""


def forward_check(
    source: Path,
    output: Path,
    pairs: Sequence[tuple[int, int]],
    *,
    budget: int,
    whole: int = _WHOLE,
    dtype: torch.dtype | None = None,
    trust_remote_code: bool = False,
) -> str:
    """Runs both models on the CPU, one after the other, as transformers loads them, on one short text.

    Large models are run through their first layer, see `salt_ext.verification.one_layer`.

    Args:
        source: the source's folder.
        output: the new model's folder.
        pairs: (source id, target id) of the tokens whose rows were copied, ordinary text tokens only: a padding or
            image token makes some models compute another thing.
        budget: bytes that a model's weights may take.
        whole: bytes of weights up to which all layers are run.
        dtype: what the source's weights were converted to; None where they were kept.
        trust_remote_code: whether code of the models' folders may run.

    Returns:
        A phrase for the report: what was found equal, or why the check was not run.

    Raises:
        OutputError: the new model does not load or run where the source does, gives logits that are not finite, or
            computes something else than the source.
    """
    if not pairs:
        return "forward pass: not run, no token is shared"
    total = max(_weight_bytes(source), _weight_bytes(output))
    sizes = {False: total} if total <= whole else {True: shallow_bytes(output), False: total}
    depths = [shallow for shallow, needed in sizes.items() if needed <= budget]
    if not depths:
        return f"forward pass: not run, model of {_gigabytes(min(sizes.values()))}, budget {_gigabytes(budget)}"
    old_ids, new_ids = [old for old, _ in pairs], [new for _, new in pairs]
    # Spread over the vocabulary; a short list is used as it is.
    chosen = [len(pairs) * place // _LENGTH for place in range(_LENGTH)] if len(pairs) > _LENGTH else range(len(pairs))
    with _undisturbed():
        reason = ""
        for shallow in depths:
            options = _Options(dtype, trust_remote_code, shallow)
            try:
                before = _run(source, [old_ids[place] for place in chosen], old_ids, options)
                break
            except Exception as error:  # whatever keeps the source from running is no fault of the output
                reason = _reason(error)
        else:
            return f"forward pass: not run, {reason}"
        if not before.finite:
            return "forward pass: not run, the source's own logits are not finite"
        try:
            after = _run(output, [new_ids[place] for place in chosen], new_ids, replace(options, dtype=None))
        except Exception as error:
            raise OutputError(
                f"{output}: the new model does not run where the source does: {_reason(error)}"
            ) from error
    _compare(before, after, output)
    layers = f" through the first of {before.layers} layers" if before.layers else ""
    return (
        f"forward pass of {len(chosen)} shared tokens{layers}: logits finite, last hidden states bit-equal to the "
        "source's"
    )


def _compare(before: _Pass, after: _Pass, output: Path) -> None:
    if lost := sorted(after.missing - before.missing):
        raise OutputError(f"{output}: it loads without {', '.join(lost[:3])}, which the source has")
    if not after.finite:
        raise OutputError(f"{output}: the new model's logits hold NaN or infinity on a text of shared tokens")
    if not _bits_equal(before.hidden, after.hidden):
        raise OutputError(f"{output}: the last hidden states on a text of shared tokens differ from the source's")
    tolerance = _LOGIT_TOLERANCE.get(before.logits.dtype, _NARROW_TOLERANCE)
    expected, found = before.logits.double(), after.logits.double()
    worst = (expected - found).abs().max().item()
    if before.logits.shape != after.logits.shape or worst > tolerance * max(1.0, expected.abs().max().item()):
        raise OutputError(f"{output}: the logits of shared tokens differ from the source's by up to {worst:.3g}")


def _run(folder: Path, text: Sequence[int], shared: Sequence[int], options: _Options) -> _Pass:
    model, missing, layers = _load(folder, options)
    try:
        head = head_of(model)
        if head is None:
            raise _InapplicableError(f"{type(model).__name__} has no head")
        seen: list[Tensor] = []
        # Not the model's own list of hidden states: families differ in what its last entry is.
        handle = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            logits = model(**_inputs(model, text)).logits
        finally:
            handle.remove()
        if not seen:
            raise _InapplicableError(f"{type(model).__name__} does not use its head as a layer")
        logits = logits.reshape(-1, logits.shape[-1])
        return _Pass(seen[-1].clone(), logits[:, list(shared)].clone(), bool(logits.isfinite().all()), missing, layers)
    finally:
        # At once, not when the collector finds the model: two must never be in memory.
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.data = tensor.new_empty(0)


def _inputs(model: transformers.PreTrainedModel, text: Sequence[int]) -> dict[str, Tensor]:
    ids = torch.tensor([list(text)])
    known = inspect.signature(model.forward).parameters
    inputs = {"input_ids": ids}
    if "attention_mask" in known:
        inputs["attention_mask"] = torch.ones_like(ids)
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    return inputs


def _load(folder: Path, options: _Options) -> tuple[transformers.PreTrainedModel, frozenset[str], int]:
    dtype, trust_remote_code = options.dtype, options.trust_remote_code
    loader = _model_class(read_json_object(folder / "config.json"), trust_remote_code)
    config, layers = model_config(folder, trust_remote_code=trust_remote_code), 0
    if options.shallow:
        config, layers = shallow_config(folder, trust_remote_code=trust_remote_code)
    # What the files do not hold is drawn at random, so both models must draw from the same seed.
    torch.manual_seed(0)
    with without_adapter(folder) as place:
        model, report = loader.from_pretrained(
            place,
            config=config,
            dtype=dtype or "auto",
            local_files_only=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
        )
    for parameter in model.parameters():
        if dtype is not None and parameter.is_floating_point():
            # Modules that the family keeps in float32 would get exact weights here, and rounded ones from the output.
            parameter.data = parameter.data.to(dtype).to(parameter.dtype)
        # A weight that is still a piece of its file lies where the file's header put it.
        if parameter.data_ptr() % _ALIGNMENT:
            piece, parameter.data = parameter.data, parameter.data.clone()
            forget_pages(piece)
    return model.eval(), frozenset(report["missing_keys"]), layers


def _model_class(config: dict[str, Any], trust_remote_code: bool) -> Any:
    if not (trust_remote_code and config.get("auto_map")):
        named = config.get("architectures")
        for name in named if isinstance(named, list) else []:
            if hasattr(transformers, str(name)):
                return getattr(transformers, name)
    return transformers.AutoModelForSeq2SeqLM if config.get("is_encoder_decoder") else transformers.AutoModelForCausalLM


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No warnings, no progress bars, no gradients; torch's random state and default dtype are as they were."""
    level, dtype = transformers_logging.get_verbosity(), torch.get_default_dtype()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.set_default_dtype(dtype)
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _weight_bytes(folder: Path) -> int:
    layout = find_layout(folder)
    names = {layout.single_file} if layout.shards is None else set(layout.shards.values())
    return sum((folder / name).stat().st_size for name in names)


def _bits_equal(first: Tensor, second: Tensor) -> bool:
    return (first.dtype, first.shape) == (second.dtype, second.shape) and torch.equal(
        first.contiguous().view(torch.uint8), second.contiguous().view(torch.uint8)
    )


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def _reason(error: Exception) -> str:
    first = next(iter(str(error).strip().splitlines()), "")
    return (
        f"{first:.160}" if isinstance(error, _InapplicableError) and first else f"{type(error).__name__}: {first:.160}"
    )
