"""Tiny random sources of every family, as transformers writes them, and the matrix of cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version
from safetensors.torch import load_file, save_file

_SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
_LLAMA = _SIZE | {"intermediate_size": 64, "num_key_value_heads": 2}
_GEMMA = _LLAMA | {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}
_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
_LENGTH = 48


class Family(NamedTuple):
    """How the checkpoints of a family are made.

    Attributes:
        layout: which special tokens its tokenizer has, and where.
        options: of its configuration, besides vocabulary and token ids.
        padding: rows of the tables beyond the tokens.
        auto: what opens it.
    """

    layout: str
    options: dict[str, Any]
    padding: int = 0
    auto: Any = transformers.AutoModelForCausalLM


_SEQ2SEQ = transformers.AutoModelForSeq2SeqLM
_MOE = {"moe_intermediate_size": 16, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1}
_MLA = {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
_SIDE = {"layers": 2, "ffn_dim": 64, "attention_heads": 4}
_BART = {f"{side}_{key}": value for side in ("encoder", "decoder") for key, value in _SIDE.items()}
_T5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
_VISION |= {"image_size": 28, "patch_size": 14}
_GEMMA3N = {"hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0, "laurel_rank": 8}
FAMILIES = {
    "llama": Family("llama", _LLAMA),
    "mistral": Family("llama", _LLAMA, padding=13),
    "mixtral": Family("llama", _LLAMA | {"num_local_experts": 4}),
    "qwen2": Family("qwen", _LLAMA, padding=20),
    "qwen3": Family("qwen", _LLAMA | {"head_dim": 8}, padding=20),
    "gemma": Family("gemma", _GEMMA),
    "gemma2": Family("gemma", _GEMMA | {"final_logit_softcapping": 2.0, "attn_logit_softcapping": 5.0}),
    "gemma3_text": Family("gemma", _GEMMA, padding=7),
    "gemma3": Family(
        "gemma",
        {"text_config": _GEMMA, "vision_config": _VISION, "mm_tokens_per_image": 4},
        auto=transformers.AutoModelForImageTextToText,
    ),
    # Its per-layer tables have fewer rows than its input table: it reads row 0 for ids beyond, some of the shared ones.
    "gemma3n_text": Family("gemma", _GEMMA | _GEMMA3N, padding=5),
    "gpt2": Family("gpt", _GPT),
    "gpt_neox": Family("gpt", _SIZE | {"intermediate_size": 64}, padding=11),
    "gptj": Family("gpt", _GPT | {"rotary_dim": 4}, padding=3),
    "opt": Family("fairseq", _SIZE | {"ffn_dim": 64, "word_embed_proj_dim": 16}),
    "bloom": Family("gpt", {"hidden_size": 32, "n_layer": 2, "n_head": 4}, padding=9),
    "falcon": Family("gpt", _SIZE),
    "phi": Family("gpt", _SIZE | {"intermediate_size": 64}, padding=30),
    "phi3": Family("llama", _LLAMA, padding=6),
    "xglm": Family(
        "fairseq",
        {"d_model": 32, "ffn_dim": 64, "num_layers": 2, "attention_heads": 4, "max_position_embeddings": 64},
        padding=8,
    ),
    "stablelm": Family("gpt", _LLAMA, padding=4),
    "olmo2": Family("gpt", _LLAMA, padding=17),
    "deepseek_v3": Family(
        "qwen", _LLAMA | _MOE | _MLA | {"num_key_value_heads": 4, "first_k_dense_replace": 1}, padding=12
    ),
    "mamba": Family("gpt", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}, padding=1),
    "t5": Family("t5", _T5, padding=28, auto=_SEQ2SEQ),
    "bart": Family("fairseq", _BART | {"d_model": 32, "max_position_embeddings": 64}, auto=_SEQ2SEQ),
}
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
STORAGES = ("single", "sharded", "bin", "sharded-bin")
TARGETS = ("byte-level", "sentencepiece", "wordpiece")


class Case(NamedTuple):
    """One combination of the matrix."""

    family: str
    tied: bool
    dtype: str
    storage: str
    target: str

    @property
    def auto(self) -> Any:
        """What opens such a model."""
        return FAMILIES[self.family].auto


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All combinations; a tied and an untied one of each family in the default run, so that all values take turns."""
    if "case" in metafunc.fixturenames:
        values = list(product(DTYPES, STORAGES, TARGETS))
        models = list(product(FAMILIES, (True, False)))
        found = []
        for turn, (name, tied) in enumerate(models):
            for place, value in enumerate(values):
                label = "-".join((name, "tied" if tied else "untied", *value))
                marks = () if place == turn * 7 % len(values) else pytest.mark.full
                found.append(pytest.param(Case(name, tied, *value), id=label, marks=marks))
        metafunc.parametrize("case", found)


class Source(NamedTuple):
    """A source model that was written and run."""

    folder: Path
    made: Any  # its tokenizer, and the ids of its tokens
    text: list[Any]
    before: Any  # what it computes on the text
    doubled: set[str]  # keys of its files whose tensor another key has as well


def _config(name: str, tied: bool, made: Any) -> transformers.PretrainedConfig:
    family, tokenizer = FAMILIES[name], made.tokenizer
    options = dict(family.options)
    ids: dict[str, Any] = {f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")}
    rows = len(tokenizer) + family.padding
    if family.auto is _SEQ2SEQ:
        ids["decoder_start_token_id"] = tokenizer.pad_token_id if name == "t5" else tokenizer.eos_token_id
        ids |= {"forced_eos_token_id": tokenizer.eos_token_id} if name == "bart" else {}
    if name == "gemma3":
        image = tokenizer.convert_tokens_to_ids("<image_soft_token>")
        options["text_config"] = options["text_config"] | ids | {"vocab_size": rows}
        options |= dict.fromkeys(("image_token_index", "boi_token_index", "eoi_token_index"), image)
    else:
        options["vocab_size"] = rows
    if name == "gemma3n_text":
        # Ids beyond that table read its first row; before 5.21 the text model alone took none.
        beyond = 5 if Version(transformers.__version__) >= Version("5.21") else -1
        options["vocab_size_per_layer_input"] = max(made.ids.values()) - beyond
    return transformers.AutoConfig.for_model(name, **options, **ids, tie_word_embeddings=tied)


def _build(name: str, tied: bool, made: Any) -> Any:
    torch.manual_seed(1)
    model = FAMILIES[name].auto.from_config(_config(name, tied, made))
    with torch.no_grad():
        for parameter in model.parameters():
            # Matrices anew; norms, biases and decays stay near what the family makes of them.
            drawn = torch.randn_like(parameter) * 0.2
            parameter.copy_(drawn if parameter.ndim > 1 else parameter + drawn / 2)
        if name == "bart":
            model.final_logits_bias.normal_()
        if name == "t5" and not tied:
            model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) * 0.2)
    return model


def _save(model: Any, folder: Path, storage: str) -> set[str]:
    """Returns the keys that the old format has twice over."""
    doubled: dict[str, Any] = {}
    sharded = storage.startswith("sharded")
    model.save_pretrained(folder, **({"max_shard_size": "30KB"} if sharded else {}))
    index = folder / "model.safetensors.index.json"
    assert index.exists() == sharded
    if model.config.model_type == "deepseek_v3":
        _add_prediction_layer(model, folder)
    if storage.endswith("bin"):
        doubled = {_head_key(model): model.get_output_embeddings().weight.detach()} if _is_tied(model) else {}
        for number, file in enumerate(sorted(folder.glob("model*.safetensors"))):
            # The old format held all that the model has, a tied head too.
            torch.save(load_file(file) | (doubled if number == 0 else {}), folder / _pickled_name(file.name))
            file.unlink()
        if sharded:
            stated = json.loads(index.read_text())
            where = stated["weight_map"] | dict.fromkeys(doubled, sorted(set(stated["weight_map"].values()))[0])
            stated["weight_map"] = {key: _pickled_name(name) for key, name in where.items()}
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps(stated))
            index.unlink()
    return set(doubled)


def _head_key(model: Any) -> str:
    """What this transformers calls the head's table: GPT-NeoX's is embed_out.weight before 5.14."""
    return next(name for name, module in model.named_modules() if module is model.get_output_embeddings()) + ".weight"


def _is_tied(model: Any) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight


def _pickled_name(name: str) -> str:
    return f"pytorch_{name.removesuffix('.safetensors')}.bin"


def _add_prediction_layer(model: Any, folder: Path) -> None:
    """The real checkpoint's layer behind the last, with tables of its own, which transformers does not read."""
    rows, width = model.get_input_embeddings().weight.shape
    shapes = {"embed_tokens": (rows, width), "shared_head.head": (rows, width), "eh_proj": (width, 2 * width)}
    extra = {f"model.layers.61.{key}.weight": torch.randn(shape).to(model.dtype) for key, shape in shapes.items()}
    index = folder / "model.safetensors.index.json"
    file = sorted(folder.glob("model*.safetensors"))[-1]
    save_file(load_file(file) | extra, file, metadata={"format": "pt"})
    if index.exists():
        stated = json.loads(index.read_text())
        stated["weight_map"] |= dict.fromkeys(extra, file.name)
        stated["metadata"]["total_size"] += sum(tensor.numel() * tensor.element_size() for tensor in extra.values())
        index.write_text(json.dumps(stated))


@pytest.fixture(scope="session")
def sources(
    tmp_path_factory: pytest.TempPathFactory, source_tokenizers, shared_tokens, toolbox
) -> Callable[..., Source]:
    """Writes a source and runs it on a text of shared tokens, each once per session."""
    known: dict[tuple[Any, ...], Source] = {}
    drawn = np.random.default_rng(4).choice(len(shared_tokens), _LENGTH, replace=False)
    text = [shared_tokens[number] for number in drawn]

    def make(case: Case) -> Source:
        key = (case.family, case.tied, case.dtype, case.storage)
        if key not in known:
            family = FAMILIES[case.family]
            made = source_tokenizers[family.layout]
            folder = tmp_path_factory.mktemp("source")
            doubled = _save(_build(case.family, case.tied, made).to(DTYPES[case.dtype]), folder, case.storage)
            made.tokenizer.save_pretrained(folder)
            (folder / "LICENSE").write_text("free")
            (folder / "preprocessor_config.json").write_text('{"size": 28}')
            before = toolbox.run(folder, [made.ids[token] for token in text], family.auto)
            known[key] = Source(folder, made, text, before, doubled)
        return known[key]

    return make
