"""What a causal language model makes of a text: bits per byte, and the short training that arms are compared after.

Bits per byte do not depend on the tokenizer, so that models with different vocabularies can be compared. For a text of
documents d_1 ... d_n (lines, or longer pieces) the model reads one stream of tokens

    s, tokens(d_1), s, tokens(d_2), ..., s, tokens(d_n)

where s is the tokenizer's bos token, else its eos token, else nothing. With the stream cut into windows,

    bits per byte = sum over the documents' tokens of -log2 p(token | what precedes it in its window)
                    / sum over documents of the number of UTF-8 bytes of d_i

- The separators s are read, but their own bits are not counted, nor a byte for them: where documents begin is known.
- Every token of a document is counted exactly once. A window begins with the last token of the window before, as
  context only. Without any separator the very first token has no context and costs log2(V) bits, V the model's outputs.
- The bytes are those of the text as given. A tokenizer that loses text (lower-casing, unknown tokens) codes less than
  it is credited for; `TextScore.altered` counts such documents, and a figure with altered > 0 is too good.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from salt_ext.errors import InputError
from salt_ext.vocab.rust import rust_errors

_NOT_COUNTED = -100  # cross_entropy's ignore_index


@dataclass(frozen=True)
class TextScore:
    """The cost of a text under a model.

    Attributes:
        bits: sum of -log2 p over the counted tokens.
        bytes: UTF-8 bytes of the text.
        tokens: tokens counted, separators left out.
        altered: documents that the tokenizer does not give back as they were (a leading space that it adds is allowed).
    """

    bits: float
    bytes: int
    tokens: int
    altered: int

    @property
    def bits_per_byte(self) -> float:
        """bits / bytes."""
        return self.bits / self.bytes


class TokenStream(NamedTuple):
    """A text as one sequence of tokens.

    Attributes:
        ids: int64 [n].
        counted: bool [n], False for the separators between documents.
        bytes: UTF-8 bytes of the documents.
        altered: documents whose tokens do not decode to them.
    """

    ids: Tensor
    counted: Tensor
    bytes: int
    altered: int


def token_stream(tokenizer: PreTrainedTokenizerBase, documents: Sequence[str]) -> TokenStream:
    """Encodes documents one by one, each behind the tokenizer's bos (else eos) token, and joins them.

    Raises:
        InputError: the documents hold no text, or the tokenizer fails on them.
    """
    documents = [document for document in documents if document]
    if not documents:
        raise InputError("the text has no documents, expected at least one that is not empty")
    separator = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    prefix = [] if separator is None else [int(separator)]
    # verbose=False: a stream is cut into windows, so that no document is too long for the model.
    with rust_errors(tokenizer):
        encoded: list[list[int]] = tokenizer(list(documents), add_special_tokens=False, verbose=False)["input_ids"]
        decoded = tokenizer.batch_decode(encoded, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    altered = sum(a.removeprefix(" ") != b.removeprefix(" ") for a, b in zip(decoded, documents, strict=True))
    ids = torch.tensor([token for tokens in encoded for token in prefix + tokens], dtype=torch.int64)
    counted = torch.ones(len(ids), dtype=torch.bool)
    if prefix:
        lengths = torch.tensor([len(tokens) + 1 for tokens in encoded])
        counted[lengths.cumsum(0) - lengths] = False
    return TokenStream(ids, counted, sum(len(document.encode()) for document in documents), altered)


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    lines: Iterable[str],
    *,
    context: int = 512,
    batch_size: int = 8,
    max_bytes: int | None = None,
) -> TextScore:
    """Measures the cost of a text under a causal language model; the formula is the module's.

    Log-probabilities are float32 (float64 for a float64 model), their sum is float64. The model's mode is restored.

    Args:
        model: a causal language model; it reads at most `context` tokens at once.
        tokenizer: its tokenizer.
        lines: the documents; a line end inside one is text like any other. Empty ones are skipped.
        context: tokens in a window.
        batch_size: windows that the model reads at once.
        max_bytes: take documents from the front until this many bytes are reached; the last one is kept whole.

    Raises:
        InputError: no text, or a size below 1.
    """
    _at_least_one(context=context, batch_size=batch_size, max_bytes=1 if max_bytes is None else max_bytes)
    stream = token_stream(tokenizer, list(_first_bytes(lines, max_bytes)))
    return measure_stream(model, stream, context=context, batch_size=batch_size)


def measure_stream(
    model: PreTrainedModel, stream: TokenStream, *, context: int = 512, batch_size: int = 8
) -> TextScore:
    """`measure` of a text that is encoded already, for several models with one tokenizer.

    Raises:
        InputError: a size below 1.
    """
    _at_least_one(context=context, batch_size=batch_size)
    targets = torch.where(stream.counted, stream.ids, _NOT_COUNTED)
    training = model.training
    model.eval()
    bits = 0.0
    outputs = 0
    with torch.inference_mode():
        for inputs, wanted in _batches(stream.ids[:-1], targets[1:], context, batch_size):
            logits = _logits(model, inputs)
            outputs = logits.shape[-1]
            nats = cross_entropy(logits.flatten(0, 1), wanted.flatten().to(logits.device), reduction="none")
            bits += nats.double().sum().item() / math.log(2)
    model.train(training)
    if bool(stream.counted[0]):
        bits += math.log2(outputs or model.config.get_text_config().vocab_size)
    return TextScore(bits, stream.bytes, int(stream.counted.sum()), stream.altered)


def bits_per_byte(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    lines: Iterable[str],
    *,
    context: int = 512,
    batch_size: int = 8,
    max_bytes: int | None = None,
) -> float:
    """`measure(...).bits_per_byte`, for those who need no more than the figure."""
    score = measure(model, tokenizer, lines, context=context, batch_size=batch_size, max_bytes=max_bytes)
    return score.bits_per_byte


def adapt(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    lines: Iterable[str],
    *,
    steps: int,
    tokens_per_step: int,
    lr: float,
    seed: int,
    context: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> list[float]:
    """Trains all parameters of a causal language model on a text, in place; equal seeds give equal results.

    AdamW on next tokens. The stream (the module's, separators included as targets) is cut into windows of `context`
    tokens; each epoch visits them in an order that depends on the seed alone, so that arms with the same tokenizer see
    the same batches. The learning rate rises linearly over the first tenth of the steps and falls along a cosine to a
    tenth of `lr`. Gradients are clipped to norm 1. AdamW's betas are 0.9 and 0.95, its weight decay is 0.01.

    Args:
        model: float32 or float64; it is left in the mode that it came in.
        tokenizer: its tokenizer.
        lines: the documents, as for `measure`.
        steps: updates; 0 leaves the model as it is.
        tokens_per_step: rounded down to whole windows, at least one.
        lr: the highest learning rate.
        seed: of the order of the windows.
        context: tokens in a window.
        progress: told (steps done, steps in all).

    Returns:
        The training loss of each step, nats per token.

    Raises:
        InputError: no text, fewer tokens than one window, or a size out of range.
    """
    text = token_stream(tokenizer, list(lines))
    return adapt_stream(
        model, text, steps=steps, tokens_per_step=tokens_per_step, lr=lr, seed=seed, context=context, progress=progress
    )


def adapt_stream(
    model: PreTrainedModel,
    stream: TokenStream,
    *,
    steps: int,
    tokens_per_step: int,
    lr: float,
    seed: int,
    context: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> list[float]:
    """`adapt` on a text that is encoded already, for several models with one tokenizer.

    Raises:
        InputError: fewer tokens than one window, or a size out of range.
    """
    _at_least_one(context=context, tokens_per_step=tokens_per_step)
    if steps < 0 or lr <= 0:
        raise InputError(f"steps is {steps} and lr is {lr}, expected steps >= 0 and lr > 0")
    ids = stream.ids
    count = (len(ids) - 1) // context
    if count < 1:
        raise InputError(f"the text has {len(ids)} tokens, expected more than one window of {context}")
    windows = ids[: count * context].view(count, context)
    targets = ids[1 : count * context + 1].view(count, context)
    order = _order(count, seed)
    per_step = max(1, tokens_per_step // context)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    training = model.training
    model.train()
    losses = []
    for step in range(steps):
        chosen = torch.tensor([next(order) for _ in range(per_step)])
        logits = _logits(model, windows[chosen])
        loss = cross_entropy(logits.flatten(0, 1), targets[chosen].flatten().to(logits.device))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if progress is not None:
            progress(step + 1, steps)
    model.train(training)
    return losses


def _first_bytes(lines: Iterable[str], max_bytes: int | None) -> Iterator[str]:
    taken = 0
    for line in lines:
        if max_bytes is not None and taken >= max_bytes:
            return
        taken += len(line.encode())
        yield line


def _batches(inputs: Tensor, targets: Tensor, context: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Whole windows in batches, then the rest as one short window, so that no padding is read."""
    whole = len(inputs) // context * context
    for begin in range(0, whole, batch_size * context):
        end = min(begin + batch_size * context, whole)
        yield inputs[begin:end].view(-1, context), targets[begin:end].view(-1, context)
    if whole < len(inputs):
        yield inputs[whole:].view(1, -1), targets[whole:].view(1, -1)


def _logits(model: PreTrainedModel, inputs: Tensor) -> Tensor:
    output: Any = model(input_ids=inputs.to(model.device), use_cache=False)
    logits: Tensor = output.logits
    return logits if logits.dtype == torch.float64 else logits.float()


def _order(count: int, seed: int) -> Iterator[int]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def _rate(step: int, steps: int) -> float:
    warmup = max(1, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _at_least_one(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name} is {size}, expected at least 1")
