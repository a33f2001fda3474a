"""Configurations that ask for more than a model: for memory without end, or for code from elsewhere."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import nn
from transformers import integrations

from salt_ext.checkpoint import Checkpoint
from salt_ext.checkpoint.limits import TooLargeError, bounded_building
from salt_ext.comparison.body import Body
from salt_ext.errors import InputError
from salt_ext.evaluation.text import TokenStream
from salt_ext.verification.forward import forward_check

_SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def _edit(folder: Path, path: str, value: object) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    part = config
    *parents, last = path.split(".")
    for key in parents:
        part = part.setdefault(key, {})
    part[last] = value
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("path", "value", "most"),
    [
        ("num_labels", 1e9, 1 << 20),
        ("vision_config.depth", 10**9, 4096),
        ("vision_config.depths", [2, 10**9, 2], 4096),
        ("encoder.num_blocks", 10**9, 4096),
        ("text_config.num_experts", 10**9, 65_536),
        ("parts.0", [{"num_hidden_layers": 10**9}], 4096),
    ],
)
def test_numbers_beyond_all_reason(make_checkpoint, path, value, most):
    folder, _ = make_checkpoint("llama-tied")
    _edit(folder, path, value)
    with pytest.raises(InputError, match=rf"config.json states \w+ = 1e\+09, expected at most {most}"):
        Checkpoint.open(folder)


def test_numbers_of_real_models(make_checkpoint):
    """DeepSeek's experts, Gemma's per-layer vocabulary, Llama's positions, a classifier's many labels."""
    folder, _ = make_checkpoint("llama-tied")
    numbers = {"n_routed_experts": 512, "vocab_size_per_layer_input": 262_144, "max_position_embeddings": 10_485_760}
    numbers |= {"num_labels": 30_000, "layer_types": ["full_attention"] * 2, "vision_feature_layer": -2}
    for key, value in numbers.items():
        _edit(folder, key, value)
    assert Checkpoint.open(folder).vocabulary_tensors().tied


def test_more_parts_than_the_checkpoint_has_tensors(make_checkpoint):
    """Whatever its name, a number cannot build without end."""
    folder, _ = make_checkpoint("llama-tied")
    _edit(folder, "num_hidden_layers", 4000)
    begin = time.process_time()
    with pytest.raises(
        InputError, match=r"describes a model of more than 20\d\d\d parts, but the checkpoint holds 20 "
    ):
        Checkpoint.open(folder).vocabulary_tensors()
    assert time.process_time() - begin < 20


def test_other_threads_may_build_meanwhile():
    made: list[nn.Module] = []

    def build() -> None:
        made.extend(nn.Linear(1, 1) for _ in range(20_000))

    with bounded_building(1, "here"):
        other = threading.Thread(target=build)
        other.start()
        other.join()
    assert len(made) == 20_000
    with pytest.raises(TooLargeError, match=r"^here: "), bounded_building(1, "here"):
        build()
    build()


@pytest.fixture
def fetched(monkeypatch) -> list[str]:
    """What would be downloaded and run if the package `kernels` were installed."""
    asked: list[str] = []

    def get_kernel(name: str, *args: Any, **options: Any) -> None:
        asked.append(name)
        raise ValueError(f"{name} was fetched")

    for module in (integrations.hub_kernels, transformers.utils.import_utils, transformers.modeling_utils):
        for name in ("is_kernels_available", "get_kernel"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, get_kernel if name == "get_kernel" else lambda *_, **__: True)
    monkeypatch.setattr(integrations.hub_kernels, "_kernels_available", True, raising=False)
    return asked


@pytest.mark.parametrize("place", ["", "text_config."])
@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation", "experts_implementation"])
def test_no_kernel_is_fetched(make_checkpoint, fetched, key, place):
    folder, model = make_checkpoint("gemma3" if place else "llama-tied")
    _edit(folder, place + key, "someone/something")
    assert Checkpoint.open(folder).rows == len(model.get_input_embeddings().weight)
    assert Checkpoint.open(folder).vocabulary_tensors().tied
    assert "bit-equal" in forward_check(folder, folder, [(n, n) for n in range(9, 60)], budget=1 << 30)
    for whole in (0, 1 << 30):
        found = forward_check(folder, folder, [(n, n) for n in range(9, 60)], budget=1 << 30, whole=whole)
        assert "bit-equal" in found
    assert fetched == []


def test_what_would_be_fetched(make_checkpoint, fetched):
    """The guard above guards something: transformers itself asks."""
    folder, _ = make_checkpoint("llama-tied")
    _edit(folder, "attn_implementation", "someone/something")
    with pytest.raises((ValueError, ImportError)), torch.device("meta"):
        transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.from_pretrained(folder))
    assert fetched == ["someone/something"]


def test_a_comparison_fetches_no_kernel(make_checkpoint, fetched):
    folder, _ = make_checkpoint("llama-tied")
    _edit(folder, "attn_implementation", "someone/something")
    pair: Any = SimpleNamespace(source=SimpleNamespace(checkpoint=Checkpoint.open(folder)))
    text = TokenStream(torch.arange(9, 40), torch.ones(31, dtype=torch.bool), bytes=31, altered=0)
    body = Body.open(pair, None, device=torch.device("cpu"))  # type: ignore[arg-type]
    assert body.source(text).tokens == 31
    assert fetched == []
