"""A causal language model on a stream of tokens: its logits, bounded in memory, and the bits of the stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from salt_ext.evaluation.precision import computing_in
from salt_ext.evaluation.token_stream import TextScore, TokenStream, at_least_one

_NOT_COUNTED = -100  # cross_entropy's ignore_index
# Of the logits of one batch: two windows of 512 tokens for a vocabulary of 64k, one for any larger one.
_LOGITS_BYTES = 256 << 20
# Of the block of them that is turned into log-probabilities, which are float32.
_BLOCK_BYTES = 32 << 20

# Asked between batches: True ends the work.
Stop = Callable[[], bool]


class StoppedError(Exception):
    """The work was ended by the `stop` that its caller gave."""


def measure_stream(
    model: PreTrainedModel,
    stream: TokenStream,
    *,
    context: int = 512,
    batch_size: int = 8,
    dtype: torch.dtype | None = None,
    stop: Stop | None = None,
) -> TextScore:
    """`salt_ext.evaluation.text.measure` of a text that is encoded already, for several models with one tokenizer.

    Args:
        model: a causal language model.
        stream: the text.
        context: tokens in a window.
        batch_size: windows that the model reads at once; fewer where the vocabulary is large, see `windows_at_once`.
        dtype: what matrix products are taken in; None for the weights' own. Log-probabilities are float32 at least.
        stop: asked before every batch; True ends the work.

    Raises:
        InputError: a size below 1.
        StoppedError: by `stop`.
    """
    at_least_one(context=context, batch_size=batch_size)
    targets = torch.where(stream.counted, stream.ids, _NOT_COUNTED)
    at_once = windows_at_once(outputs_of(model), context, batch_size)
    training = model.training
    model.eval()
    bits = 0.0
    outputs = 0
    try:
        # Not inference_mode: a sharded model (FSDP) keeps what it gathers here, and could not be trained on.
        with torch.no_grad(), computing_in(dtype, model.device):
            for inputs, wanted in _batches(stream.ids[:-1], targets[1:], context, at_once):
                check_time(stop)
                logits = logits_of(model, inputs)
                outputs = logits.shape[-1]
                bits += _nats(logits.flatten(0, 1), wanted.flatten().to(logits.device)) / math.log(2)
                del logits  # before the next batch's are made
    finally:
        model.train(training)
    if bool(stream.counted[0]):
        bits += math.log2(outputs or outputs_of(model))
    return TextScore(bits, stream.bytes, int(stream.counted.sum()), stream.altered)


def outputs_of(model: PreTrainedModel) -> int:
    """How many logits a model gives, by its configuration."""
    return int(model.config.get_text_config().vocab_size)


def windows_at_once(outputs: int, context: int, most: int) -> int:
    """Windows whose logits, as float32, take no more than 256 MB; one at least, `most` at most."""
    return max(1, min(most, _LOGITS_BYTES // (4 * context * outputs)))


def logits_of(model: PreTrainedModel, inputs: Tensor) -> Tensor:
    """[batch, length, outputs] for token ids [batch, length], in the dtype that the model computes in."""
    output: Any = model(input_ids=inputs.to(model.device), use_cache=False)
    logits: Tensor = output.logits
    return logits


def wide(logits: Tensor) -> Tensor:
    """As float32, or float64 where they are that: what log-probabilities are taken of."""
    return logits if logits.dtype == torch.float64 else logits.float()


def check_time(stop: Stop | None) -> None:
    """Asks `stop`.

    Raises:
        StoppedError: it says so.
    """
    if stop is not None and stop():
        raise StoppedError("stopped by the caller")


def _nats(logits: Tensor, wanted: Tensor) -> float:
    """Sum over tokens of -ln p, [n, outputs] and [n], by blocks of tokens."""
    size = max(1, _BLOCK_BYTES // (4 * logits.shape[-1]))
    parts = zip(logits.split(size), wanted.split(size), strict=True)
    return sum(cross_entropy(wide(rows), own, reduction="none").double().sum().item() for rows, own in parts)


def _batches(inputs: Tensor, targets: Tensor, context: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Whole windows in batches, then the rest as one short window, so that no padding is read."""
    whole = len(inputs) // context * context
    for begin in range(0, whole, batch_size * context):
        end = min(begin + batch_size * context, whole)
        yield inputs[begin:end].view(-1, context), targets[begin:end].view(-1, context)
    if whole < len(inputs):
        yield inputs[whole:].view(1, -1), targets[whole:].view(1, -1)
