"""Bits per byte against sums made by hand, and the adaptation's promise to be equal for equal seeds."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from factories import small_llama
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from salt_ext.errors import InputError
from salt_ext.evaluation.text import adapt, bits_per_byte, measure, token_stream

pytestmark = pytest.mark.usefixtures("one_thread")

TEXT = ["The cat sat.", "Zwölf Boxkämpfer jagen Viktor.", "a", "", "one\ntwo  three\n"]
BYTES = 12 + 32 + 1 + 0 + 15


def byte_tokenizer(*, bos: bool = True, eos: bool = False, lowercase: bool = False) -> PreTrainedTokenizerFast:
    """One token a byte, so that tokens can be counted by hand: specials first, then the 256 bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<s>"] * bos + ["</s>"] * eos
    vocabulary = {token: number for number, token in enumerate([*specials, *alphabet])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if lowercase:
        backend.normalizer = normalizers.Lowercase()
    names = {"bos_token": "<s>"} if bos else {}
    names |= {"eos_token": "</s>"} if eos else {}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def tiny_model(vocabulary: int, *, dtype: torch.dtype = torch.float32) -> LlamaForCausalLM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        # Far from uniform, so that a token counted twice or left out shows.
        changes = {"num_hidden_layers": 2, "max_position_embeddings": 64, "initializer_range": 0.5}
        config = small_llama(vocabulary, **changes)
        return LlamaForCausalLM(config).to(dtype)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_tokenizer()


@pytest.mark.parametrize("context", [1, 2, 7, 16, 30, 64])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_agrees_with_a_loop_over_single_tokens(
    tokenizer: PreTrainedTokenizerFast, context: int, batch_size: int
) -> None:
    model = tiny_model(257, dtype=torch.float64).eval()
    stream = [token for text in TEXT if text for token in [0, *tokenizer.encode(text, add_special_tokens=False)]]
    bits = 0.0
    with torch.no_grad():
        for place in range(1, len(stream)):
            begin = (place - 1) // context * context
            probabilities = model(input_ids=torch.tensor([stream[begin:place]])).logits[0, -1].softmax(0)
            if stream[place] != 0:
                bits -= math.log2(probabilities[stream[place]].item())
    score = measure(model, tokenizer, TEXT, context=context, batch_size=batch_size)
    assert score.bits == pytest.approx(bits, rel=1e-12)
    assert (score.tokens, score.bytes, score.altered) == (BYTES, BYTES, 0)
    assert score.bits_per_byte == pytest.approx(bits / BYTES, rel=1e-12)


@pytest.mark.parametrize("context", [1, 5, 59, 60, 61, 512])
@pytest.mark.parametrize("bos", [True, False])
def test_a_uniform_model_pays_the_logarithm_of_its_outputs_for_every_token(context: int, bos: bool) -> None:
    tokenizer = byte_tokenizer(bos=bos)
    model = tiny_model(300)
    torch.nn.init.zeros_(model.lm_head.weight)
    figure = bits_per_byte(model, tokenizer, TEXT, context=context, batch_size=2)
    # One token a byte. Without a separator the first token has no context: it must cost the same log2(V), not nothing.
    assert figure == pytest.approx(math.log2(300), rel=1e-6)


def test_the_first_token_without_context_is_uniform_when_it_is_all_there_is() -> None:
    score = measure(tiny_model(256), byte_tokenizer(bos=False), ["a"])
    assert (score.bits, score.tokens) == (8.0, 1)


def test_the_separator_is_bos_else_eos_else_nothing() -> None:
    for bos, eos, separator in ((True, True, "<s>"), (False, True, "</s>"), (False, False, None)):
        tokenizer = byte_tokenizer(bos=bos, eos=eos)
        stream = token_stream(tokenizer, ["ab", "", "c"])
        expected = ["a", "b", "c"] if separator is None else [separator, "a", "b", separator, "c"]
        assert tokenizer.convert_ids_to_tokens(stream.ids.tolist()) == expected
        assert stream.counted.tolist() == [token != separator for token in expected]


def test_bytes_are_those_of_the_text_and_altered_documents_are_counted() -> None:
    tokenizer = byte_tokenizer(lowercase=True)
    score = measure(tiny_model(257), tokenizer, TEXT)
    # "İ" grows when lower-cased; the figure must not be divided by the tokenizer's own idea of the text.
    assert (score.bytes, score.altered) == (BYTES, 2)
    dotted = measure(tiny_model(257), tokenizer, ["İ"])
    assert (dotted.bytes, dotted.tokens, dotted.altered) == (2, 3, 1)


def test_a_leading_space_that_the_tokenizer_adds_is_no_alteration() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert token_stream(tokenizer, ["ab"]).ids.shape == (4,)
    assert token_stream(tokenizer, ["ab"]).altered == 0


def test_max_bytes_takes_whole_documents_from_the_front(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model(257)
    for limit, taken in ((1, 1), (12, 1), (13, 2), (10_000, 5)):
        score = measure(model, tokenizer, TEXT, max_bytes=limit)
        assert score == measure(model, tokenizer, TEXT[:taken])


def test_measuring_leaves_the_model_as_it_was(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model(257).train()
    before = copy.deepcopy(model.state_dict())
    measure(model, tokenizer, TEXT)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def run_adaptation(
    tokenizer: PreTrainedTokenizerFast, *, seed: int, steps: int = 6
) -> tuple[LlamaForCausalLM, list[float]]:
    model = tiny_model(257)
    lines = [f"line {number} of {number * number}" for number in range(60)]
    losses = adapt(model, tokenizer, lines, steps=steps, tokens_per_step=64, lr=1e-2, seed=seed, context=16)
    return model, losses


def test_adaptation_is_equal_for_equal_seeds_and_learns(tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(1)
    one, losses = run_adaptation(tokenizer, seed=3)
    torch.manual_seed(2)  # nothing may hang on torch's own generator
    two, again = run_adaptation(tokenizer, seed=3)
    assert losses == again
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    _, others = run_adaptation(tokenizer, seed=4)
    assert others != losses
    _, long = run_adaptation(tokenizer, seed=3, steps=40)
    assert sum(long[-5:]) < 0.7 * sum(long[:5])


def test_all_parameters_move_and_no_steps_move_none(tokenizer: PreTrainedTokenizerFast) -> None:
    fresh = dict(tiny_model(257).named_parameters())
    moved, _ = run_adaptation(tokenizer, seed=0)
    assert all(not torch.equal(fresh[name], tensor) for name, tensor in moved.named_parameters())
    still, losses = run_adaptation(tokenizer, seed=0, steps=0)
    assert losses == []
    assert all(torch.equal(fresh[name], tensor) for name, tensor in still.named_parameters())


def test_every_window_is_seen_once_an_epoch(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    model = tiny_model(257)
    forward = model.forward

    def spy(*, input_ids: torch.Tensor, **rest: object) -> object:
        seen.extend(tuple(window) for window in input_ids.tolist())
        return forward(input_ids=input_ids, **rest)

    monkeypatch.setattr(model, "forward", spy)
    text = "".join(chr(33 + number) for number in range(80))  # 81 tokens: five windows of 16, all different
    told: list[tuple[int, int]] = []
    adapt(
        model,
        tokenizer,
        [text],
        steps=5,
        tokens_per_step=35,
        lr=1e-3,
        seed=0,
        context=16,
        progress=lambda done, total: told.append((done, total)),
    )
    stream = token_stream(tokenizer, [text]).ids.tolist()
    windows = {tuple(stream[begin : begin + 16]) for begin in range(0, 80, 16)}
    assert set(seen[:5]) == set(seen[5:]) == windows
    assert len(seen) == 10
    assert told == [(step, 5) for step in range(1, 6)]


def test_bad_input(tokenizer: PreTrainedTokenizerFast) -> None:
    model = tiny_model(257)
    with pytest.raises(InputError, match="no documents"):
        measure(model, tokenizer, ["", ""])
    with pytest.raises(InputError, match="context is 0"):
        measure(model, tokenizer, TEXT, context=0)
    with pytest.raises(InputError, match="max_bytes is 0"):
        measure(model, tokenizer, TEXT, max_bytes=0)
    with pytest.raises(InputError, match="more than one window of 64"):
        adapt(model, tokenizer, TEXT, steps=1, tokens_per_step=64, lr=1e-3, seed=0, context=64)
    with pytest.raises(InputError, match="steps is -1"):
        adapt(model, tokenizer, TEXT, steps=-1, tokens_per_step=8, lr=1e-3, seed=0, context=8)
