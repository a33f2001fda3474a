"""Tokenizers whose equal tokens are known by construction, donors, and two models compared on shared tokens."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import transformers
from safetensors import safe_open
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

# A token as it is meant: whether it begins a word, and its text.
Token = tuple[bool, str]

_SYLLABLES = ["an", "en", "ter", "lo", "mi", "sa", "ka", "ru"]
_WORDS = ["".join(pair) for pair in product(_SYLLABLES, repeat=2)]
SHARED: list[Token] = [*((True, word) for word in _WORDS[:28]), *((False, word) for word in _WORDS[20:40])]
_ONLY_SOURCE: list[Token] = [*((True, word) for word in _WORDS[40:]), *((False, word + "th") for word in _WORDS[:8])]
_ONLY_TARGET: list[Token] = [*((True, "sch" + word) for word in _WORDS[:30]), *((False, f"ü{s}") for s in _SYLLABLES)]
# Roles and spellings; `END` as the place puts them behind all other tokens.
END = 10_000
_SPECIAL: dict[str, tuple[int, dict[str, str]]] = {
    "llama": (0, {"unk": "<unk>", "bos": "<s>", "eos": "</s>"}),
    "gemma": (0, {"pad": "<pad>", "eos": "<eos>", "bos": "<bos>", "unk": "<unk>"}),
    "gpt": (END, {"bos": "<|endoftext|>", "eos": "<|endoftext|>", "unk": "<|endoftext|>"}),
    "qwen": (END, {"pad": "<|endoftext|>", "eos": "<|im_end|>"}),
    "fairseq": (0, {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}),
    "t5": (0, {"pad": "<pad>", "eos": "</s>", "unk": "<unk>"}),
    # In the middle of the shared tokens, so that no id is what it was by accident and a text can reach the pad's id.
    "byte-level": (17, {"bos": "<|begin|>", "eos": "<|end|>", "pad": "<|pad|>"}),
    "sentencepiece": (11, {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>"}),
    "wordpiece": (14, {role: f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}),
}
_BYTE_PIECES = [f"<0x{value:02X}>" for value in range(256)]
TARGETS = ("byte-level", "sentencepiece", "wordpiece")
# Where a family's chat would be; only of some layouts.
IMAGE = "<image_soft_token>"


class Made(NamedTuple):
    """A tokenizer, and the ids of the tokens that were put into it."""

    tokenizer: PreTrainedTokenizerFast
    ids: dict[Token, int]


def _vocabulary(tokens: Iterable[Token], spell: Callable[[Token], str], rest: list[str], layout: str) -> list[str]:
    place, special = _SPECIAL[layout]
    pieces = [*map(spell, tokens), *rest]
    return [*pieces[:place], *dict.fromkeys(special.values()), *pieces[place:]]


def _finish(inner: Tokenizer, tokens: list[Token], spell: Callable[[Token], str], layout: str) -> Made:
    special = _SPECIAL[layout][1]
    inner.add_special_tokens([AddedToken(token, normalized=False) for token in dict.fromkeys(special.values())])
    if layout == "gemma":
        inner.add_special_tokens([AddedToken(IMAGE, normalized=False)])
    before = special.get("bos", special.get("cls")) if layout in ("llama", "gemma", "fairseq", "wordpiece") else None
    after = special.get("sep", special["eos"] if layout in ("t5", "fairseq", "sentencepiece") else None)
    if before or after:
        frame = " ".join(part for part in (before, "$A", after) if part)
        used = [(token, inner.token_to_id(token)) for token in (before, after) if token]
        inner.post_processor = processors.TemplateProcessing(single=frame, special_tokens=used)
    ids = {token: inner.token_to_id(spell(token)) for token in tokens}
    assert None not in ids.values()
    roles = {f"{role}_token": token for role, token in special.items()}
    template = f"{{% for m in messages %}}{IMAGE}{{{{ m['content'] }}}}{{% endfor %}}" if layout == "gemma" else None
    return Made(PreTrainedTokenizerFast(tokenizer_object=inner, chat_template=template, **roles), ids)


def byte_level(tokens: list[Token], layout: str) -> Made:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())

    def spell(token: Token) -> str:
        return ("Ġ" if token[0] else "") + token[1].replace("ü", "Ã¼")

    vocabulary = _vocabulary(tokens, spell, letters, layout)
    inner = Tokenizer(models.BPE({piece: i for i, piece in enumerate(vocabulary)}, [], ignore_merges=True))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return _finish(inner, tokens, spell, layout)


def _marked(token: Token) -> str:
    return ("▁" if token[0] else "") + token[1]


def metaspace(tokens: list[Token], layout: str) -> Made:
    """A SentencePiece BPE with byte fallback, as Llama's and Gemma's."""
    vocabulary = _vocabulary(tokens, _marked, [*_BYTE_PIECES, "▁"], layout)
    ids = {piece: i for i, piece in enumerate(vocabulary)}
    unknown = _SPECIAL[layout][1]["unk"]
    inner = Tokenizer(models.BPE(ids, [], byte_fallback=True, unk_token=unknown, ignore_merges=True))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    inner.decoder = decoders.Sequence(steps)
    return _finish(inner, tokens, _marked, layout)


def unigram(tokens: list[Token], layout: str) -> Made:
    """A SentencePiece Unigram with byte fallback, as T5's and XLM-R's."""
    vocabulary = _vocabulary(tokens, _marked, [*_BYTE_PIECES, "▁"], layout)
    unknown = vocabulary.index(_SPECIAL[layout][1]["unk"])
    inner = Tokenizer(models.Unigram([(piece, -1.0 * len(piece)) for piece in vocabulary], unknown, True))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    inner.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first")])
    return _finish(inner, tokens, _marked, layout)


def word_piece(tokens: list[Token], layout: str) -> Made:
    def spell(token: Token) -> str:
        return ("" if token[0] else "##") + token[1]

    letters = [prefix + letter for prefix in ("", "##") for letter in "abcdefghijklmnopqrstuvwxyzü"]
    vocabulary = _vocabulary(tokens, spell, letters, layout)
    inner = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(vocabulary)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece(cleanup=False)
    return _finish(inner, tokens, spell, layout)


_LAYOUTS = {"llama": metaspace, "gemma": metaspace, "fairseq": unigram, "t5": unigram}


@pytest.fixture(scope="session")
def source_tokenizers() -> dict[str, Made]:
    """By layout: which special tokens there are and where, and the kind of tokenizer that goes with that."""
    tokens = [*_ONLY_SOURCE, *SHARED]
    return {
        layout: _LAYOUTS.get(layout, byte_level)(tokens, layout)
        for layout in ("llama", "gemma", "gpt", "qwen", "fairseq", "t5")
    }


def save_donor(folder: Path, tokenizer: PreTrainedTokenizerFast, kind: str, rows: int) -> Path:
    """A random model of the kind that has such a tokenizer: a decoder, or an encoder for a WordPiece."""
    torch.manual_seed(5)
    size = {"vocab_size": rows, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    size |= {"intermediate_size": 16, "pad_token_id": tokenizer.pad_token_id}
    made: Any = {"byte-level": transformers.LlamaModel, "sentencepiece": transformers.XLMRobertaModel}
    made = made.get(kind, transformers.BertModel)
    made(made.config_class(**size)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def donors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Made]]:
    """By kind of target: a donor's folder, and its tokenizer."""
    folder = tmp_path_factory.mktemp("donors")
    made = {}
    for kind, build in zip(TARGETS, (byte_level, unigram, word_piece), strict=True):
        target = build([*SHARED[::-1], *_ONLY_TARGET], kind)
        made[kind] = save_donor(folder / kind, target.tokenizer, kind, len(target.tokenizer) + 3), target
    return made


@pytest.fixture(scope="session")
def shared_tokens() -> list[Token]:
    """The tokens that every source and every target has."""
    return SHARED


class Pass(NamedTuple):
    """What a model computes on a text."""

    model: Any
    hidden: Tensor  # what its head is given, [length, width]
    logits: Tensor  # [length, rows]
    head: Tensor  # [rows, width]
    tied: bool  # whether that is the input table
    bias: Tensor  # [rows]: of the head, and what is added to its product


def run_model(folder: Path, text: list[int], auto: Any = transformers.AutoModelForCausalLM) -> Pass:
    """Opens a folder as its users do, all keys expected and found, and gives it a text."""
    model, info = auto.from_pretrained(folder, dtype="auto", output_loading_info=True)
    assert not info["missing_keys"], info
    assert not info["unexpected_keys"], info
    assert not info["mismatched_keys"], info
    with torch.no_grad():
        for parameter in model.parameters():
            # A weight may lie at any place of its file; how it is aligned decides which kernel multiplies with it.
            parameter.data = parameter.data.clone()
    seen: list[Tensor] = []
    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    ids = torch.tensor([text])
    with torch.no_grad():
        logits = model(input_ids=ids, **({"decoder_input_ids": ids} if model.config.is_encoder_decoder else {})).logits
    hook.remove()
    bias = torch.zeros(len(head.weight))
    for found in (head.bias, getattr(model, "final_logits_bias", None)):
        bias = bias if found is None else bias + found.detach().reshape(-1).float()
    assert logits.isfinite().all()
    tied = head.weight is model.get_input_embeddings().weight
    return Pass(model, seen[-1], logits[0], head.weight.detach(), tied, bias)


def exact_logits(made: Pass, columns: list[int]) -> tuple[Tensor, Tensor]:
    """The logits of some tokens in float64, from what the head is given, and a bound of their rounding.

    The product is summed in float32 or wider and rounded to the model's dtype, as is every step after it.
    """
    hidden, head = made.hidden.double(), made.head[columns].double()
    exact = hidden @ head.T + made.bias[columns].double()
    magnitude = hidden.abs() @ head.T.abs() + made.bias[columns].double().abs()
    eps = torch.finfo(made.head.dtype).eps
    # Two roundings, of the product and of the sum with the bias, each by half a unit; and the sums in float32. Some
    # families turn what is rounded so into float32.
    bound = eps * exact.abs() + made.hidden.shape[1] * 2.0**-24 * magnitude
    if bool(made.bias.any()):
        bound += eps * made.bias[columns].double().abs()
    cap = getattr(made.model.config.get_text_config(), "final_logit_softcapping", None)
    if cap is not None:
        # The slope of the tangent is at most 1; quotient, tangent and product are rounded too.
        exact = cap * torch.tanh(exact / cap)
        bound += 2 * eps * exact.abs()
    return exact, bound


def tensors_of(folder: Path) -> dict[str, Tensor]:
    """All that the weight files hold; each key once, and the index says where."""
    found: dict[str, Tensor] = {}
    where: dict[str, str] = {}
    for file in sorted(folder.glob("model*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            for name in opened.keys():  # noqa: SIM118
                assert name not in found
                found[name], where[name] = opened.get_tensor(name), file.name
    index = folder / "model.safetensors.index.json"
    if index.exists():
        stated = json.loads(index.read_text())
        assert stated["weight_map"] == where
        assert stated["metadata"]["total_size"] == sum(t.numel() * t.element_size() for t in found.values())
    return found


def assert_bits_equal(found: Tensor, expected: Tensor, what: str) -> None:
    assert found.dtype == expected.dtype, what
    assert found.shape == expected.shape, what
    assert torch.equal(found.contiguous().view(torch.uint8), expected.contiguous().view(torch.uint8)), what


class Toolbox(NamedTuple):
    """What both modules use."""

    run: Callable[..., Pass]
    exact_logits: Callable[[Pass, list[int]], tuple[Tensor, Tensor]]
    tensors: Callable[[Path], dict[str, Tensor]]
    bits_equal: Callable[[Tensor, Tensor, str], None]
    save_donor: Callable[..., Path]


@pytest.fixture(scope="session")
def toolbox() -> Toolbox:
    return Toolbox(run_model, exact_logits, tensors_of, assert_bits_equal, save_donor)


@pytest.fixture(autouse=True)
def _quick() -> Iterator[None]:
    """Hundreds of tiny transfers, side by side: one thread each, and no collection walks through all of torch."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.freeze()
    yield
    torch.set_num_threads(usual)
