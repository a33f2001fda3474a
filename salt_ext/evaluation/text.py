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

from collections.abc import Callable, Iterable, Iterator

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from salt_ext.evaluation.measuring import measure_stream
from salt_ext.evaluation.token_stream import TextScore, TokenStream, at_least_one, token_stream
from salt_ext.evaluation.training import adapt_stream

__all__ = [
    "TextScore",
    "TokenStream",
    "adapt",
    "adapt_stream",
    "bits_per_byte",
    "measure",
    "measure_stream",
    "token_stream",
]


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
    at_least_one(context=context, batch_size=batch_size, max_bytes=1 if max_bytes is None else max_bytes)
    stream = token_stream(tokenizer, list(_first_bytes(lines, max_bytes)))
    return measure_stream(model, stream, context=context, batch_size=batch_size)


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
        progress: called with (steps done, steps in all).

    Returns:
        The training loss of each step, nats per token.

    Raises:
        InputError: no text, fewer tokens than one window, or a size out of range.
    """
    text = token_stream(tokenizer, list(lines))
    return adapt_stream(
        model, text, steps=steps, tokens_per_step=tokens_per_step, lr=lr, seed=seed, context=context, progress=progress
    )


def _first_bytes(lines: Iterable[str], max_bytes: int | None) -> Iterator[str]:
    taken = 0
    for line in lines:
        if max_bytes is not None and taken >= max_bytes:
            return
        taken += len(line.encode())
        yield line
