"""The forward pass tells a healthy output from a damaged one, in every kind of family.

The outputs are made by hand, from the source's own state dictionary: nothing of the transfer takes part.
"""

from __future__ import annotations

import json
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from salt_ext.errors import OutputError
from salt_ext.verification.forward import forward_check

OLD, NEW = 70, 96
PLENTY = 1 << 30
# Source id -> target id of the shared tokens; the padding token (1 or 3 here) is none of them.
PAIRS = [(old, 95 - old if old % 2 else old + 5) for old in range(6, 60)]
SMALL = {"vocab_size": OLD, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
LLAMA = SMALL | {"intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 1}
FAMILIES: dict[str, Callable[[], transformers.PretrainedConfig]] = {
    "llama": lambda: transformers.LlamaConfig(**LLAMA, tie_word_embeddings=False),
    "gpt2": lambda: transformers.GPT2Config(vocab_size=OLD, n_embd=32, n_layer=2, n_head=4, n_positions=64),
    "gpt-j": lambda: transformers.GPTJConfig(vocab_size=OLD, n_embd=32, n_layer=2, n_head=4, rotary_dim=4),
    "gemma2": lambda: transformers.Gemma2Config(**LLAMA),
    "gemma3n": lambda: transformers.Gemma3nTextConfig(
        **LLAMA | {"intermediate_size": [48, 48], "vocab_size_per_layer_input": OLD, "hidden_size_per_layer_input": 8},
        altup_num_inputs=2,
        num_kv_shared_layers=0,
        laurel_rank=4,
        layer_types=["sliding_attention", "full_attention"],
        activation_sparsity_pattern=[0.0, 0.0],
    ),
    "mixtral": lambda: transformers.MixtralConfig(**LLAMA, num_local_experts=4),
    "mamba": lambda: transformers.MambaConfig(vocab_size=OLD, hidden_size=32, num_hidden_layers=2, state_size=4),
    "xglm": lambda: transformers.XGLMConfig(
        vocab_size=OLD, d_model=32, ffn_dim=48, num_layers=2, attention_heads=4, max_position_embeddings=64
    ),
    "t5": lambda: transformers.T5Config(vocab_size=OLD, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4),
    "bart": lambda: transformers.BartConfig(
        vocab_size=OLD,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        max_position_embeddings=64,
    ),
}


def model_of(config: transformers.PretrainedConfig, dtype: torch.dtype) -> transformers.PreTrainedModel:
    auto = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    torch.manual_seed(5)
    model = auto.from_config(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name and parameter.ndim > 1:
                parameter.normal_(0, 0.2)
        for name, buffer in model.named_buffers():
            if name == "final_logits_bias":
                buffer.normal_()
    return model.to(dtype)


def make_pair(family: str, folder: Path, dtype: torch.dtype = torch.float32) -> tuple[Path, Path]:
    """A random source, and the same model under another vocabulary: only shared tokens have their rows."""
    source = model_of(FAMILIES[family](), dtype)
    config = FAMILIES[family]()
    for key in ("vocab_size", "vocab_size_per_layer_input"):
        if hasattr(config, key):
            setattr(config, key, NEW)
    output = model_of(config, dtype)
    old_ids, new_ids = map(torch.tensor, zip(*PAIRS, strict=True))
    state, rows = source.state_dict(), output.state_dict()
    with torch.no_grad():
        for name, tensor in state.items():
            if rows[name].shape == tensor.shape:
                rows[name].copy_(tensor)
            else:
                dim = next(dim for dim in range(tensor.ndim) if tensor.shape[dim] != rows[name].shape[dim])
                rows[name].index_copy_(dim, new_ids, tensor.index_select(dim, old_ids))
    source.save_pretrained(folder / "source")
    output.save_pretrained(folder / "output")
    return folder / "source", folder / "output"


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def set_config(folder: Path, **values: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("family", "dtype"),
    [
        *((family, torch.float32) for family in FAMILIES),
        *((family, torch.bfloat16) for family in ("llama", "gemma3n", "mixtral", "mamba", "t5")),
    ],
)
def test_a_healthy_output_passes(family, dtype, tmp_path):
    source, output = make_pair(family, tmp_path, dtype)
    phrase = forward_check(source, output, PAIRS, budget=PLENTY)
    assert phrase == "forward pass of 16 shared tokens: logits finite, last hidden states bit-equal to the source's"


@pytest.mark.parametrize("family", ["llama", "mixtral", "mamba", "t5", "bart"])
def test_a_damaged_weight_of_the_body_fails(family, tmp_path):
    source, output = make_pair(family, tmp_path)
    body = {
        "llama": "model.layers.0.mlp.up_proj.weight",
        "mixtral": "model.layers.0.self_attn.v_proj.weight",
        "mamba": "backbone.layers.0.mixer.in_proj.weight",
        "t5": "encoder.block.0.layer.0.SelfAttention.v.weight",
        "bart": "model.encoder.layers.0.fc1.weight",
    }[family]
    change(output, lambda tensors: tensors[body].view(torch.int32)[3, 3].bitwise_xor_(1 << 20))
    with pytest.raises(OutputError, match=r"last hidden states .* differ from the source's"):
        forward_check(source, output, PAIRS, budget=PLENTY)


def test_two_anchors_in_each_others_place_fail(tmp_path):
    source, output = make_pair("llama", tmp_path)
    first, second = PAIRS[0][1], PAIRS[1][1]

    def swap(name: str) -> Callable[[dict[str, torch.Tensor]], None]:
        def edit(tensors: dict[str, torch.Tensor]) -> None:
            tensors[name][[first, second]] = tensors[name][[second, first]]

        return edit

    change(output, swap("lm_head.weight"))
    with pytest.raises(OutputError, match="the logits of shared tokens differ"):
        forward_check(source, output, PAIRS, budget=PLENTY)
    change(output, swap("lm_head.weight"))
    change(output, swap("model.embed_tokens.weight"))
    with pytest.raises(OutputError, match="last hidden states"):
        forward_check(source, output, PAIRS, budget=PLENTY)


def test_a_shifted_bias_of_the_head_fails(tmp_path):
    source, output = make_pair("bart", tmp_path)
    change(output, lambda tensors: tensors.update(final_logits_bias=tensors["final_logits_bias"].roll(1, 1)))
    with pytest.raises(OutputError, match="the logits of shared tokens differ"):
        forward_check(source, output, PAIRS, budget=PLENTY)


def test_a_padding_id_that_moves_xglms_positions_fails(tmp_path):
    """XGLM zeroes the sinusoidal row of that number: position 5 of every text would have none."""
    source, output = make_pair("xglm", tmp_path)
    set_config(output, pad_token_id=7)
    with pytest.raises(OutputError, match="last hidden states"):
        forward_check(source, output, PAIRS, budget=PLENTY)


def test_logits_that_are_not_finite_fail(tmp_path):
    source, output = make_pair("llama", tmp_path)
    change(output, lambda tensors: tensors["lm_head.weight"][0, 0].fill_(torch.nan))
    with pytest.raises(OutputError, match="NaN or infinity"):
        forward_check(source, output, PAIRS, budget=PLENTY)


def test_a_lost_weight_fails(tmp_path):
    """transformers would draw it at random, without an error."""
    source, output = make_pair("llama", tmp_path)
    change(output, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(OutputError, match=r"loads without model.layers.1.mlp.up_proj.weight"):
        forward_check(source, output, PAIRS, budget=PLENTY)


def test_a_configuration_that_does_not_fit_fails(tmp_path):
    source, output = make_pair("llama", tmp_path)
    set_config(output, hidden_size=48)
    with pytest.raises(OutputError, match="does not run where the source does"):
        forward_check(source, output, PAIRS, budget=PLENTY)


@pytest.mark.parametrize("family", ["llama", "t5"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_an_output_in_another_dtype(family, dtype, tmp_path):
    """T5 keeps some modules in float32 whatever it is loaded in; their weights were rounded all the same."""
    source, output = make_pair(family, tmp_path)
    change(output, lambda tensors: tensors.update({name: tensor.to(dtype) for name, tensor in tensors.items()}))
    set_config(output, dtype=str(dtype).removeprefix("torch."))
    assert "bit-equal" in forward_check(source, output, PAIRS, budget=PLENTY, dtype=dtype)
    with pytest.raises(OutputError, match="last hidden states"):
        forward_check(source, output, PAIRS, budget=PLENTY)


def test_a_source_in_torchs_own_format(tmp_path):
    source, output = make_pair("gpt2", tmp_path)
    torch.save(load_file(source / "model.safetensors"), source / "pytorch_model.bin")
    (source / "model.safetensors").unlink()
    assert "bit-equal" in forward_check(source, output, PAIRS, budget=PLENTY)


def test_when_it_is_not_run(tmp_path):
    source, output = make_pair("llama", tmp_path)
    size = (output / "model.safetensors").stat().st_size
    assert "budget 0.0 GB" in forward_check(source, output, PAIRS, budget=size - 1)
    assert "bit-equal" in forward_check(source, output, PAIRS, budget=size)
    assert "not run, no token is shared" in forward_check(source, output, [], budget=PLENTY)
    change(source, lambda tensors: tensors["model.norm.weight"].fill_(torch.inf))
    assert "not run, the source's own logits" in forward_check(source, output, PAIRS, budget=PLENTY)
    set_config(source, model_type="of another world", architectures=["Nothing"])
    assert forward_check(source, output, PAIRS, budget=PLENTY).startswith("forward pass: not run, ValueError: ")


def test_it_leaves_no_trace(tmp_path, capfd):
    source, output = make_pair("mamba", tmp_path, torch.bfloat16)
    seen = []

    def state() -> tuple[object, ...]:
        settings = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
        log = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
        return *settings, *log, threading.active_count(), torch.get_rng_state().tolist()

    capfd.readouterr()
    before = state()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            seen.append(forward_check(source, output, PAIRS, budget=PLENTY))
    assert state() == before
    assert seen[0] == seen[1]
    assert not caught
    assert capfd.readouterr() == ("", "")


def deepened(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The family with four layers instead of two."""
    made = FAMILIES[family]()
    lists = {name: value * 2 for name, value in vars(made).items() if isinstance(value, list) and len(value) == 2}
    names = ("num_hidden_layers", "num_layers", "encoder_layers", "decoder_layers", "num_decoder_layers")
    depths = {name: 4 for name in names if getattr(made, name, None) == 2}

    def deep() -> transformers.PretrainedConfig:
        config = FAMILIES_AS_THEY_ARE[family]()
        for name, value in (depths | lists).items():
            setattr(config, name, value)
        return config

    monkeypatch.setitem(FAMILIES, family, deep)


FAMILIES_AS_THEY_ARE = dict(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES_AS_THEY_ARE)
def test_a_large_model_is_run_through_its_first_layer(family, tmp_path, monkeypatch):
    deepened(family, monkeypatch)
    source, output = make_pair(family, tmp_path)
    phrase = forward_check(source, output, PAIRS, budget=PLENTY, whole=0)
    # Gemma3n's second table is as wide as it has layers, so that it is run whole or not at all.
    part = "" if family == "gemma3n" else " through the first of 4 layers"
    assert phrase.startswith(f"forward pass of 16 shared tokens{part}: logits finite")


def test_the_first_layer_shows_what_is_wrong_with_it_and_with_the_tables(tmp_path, monkeypatch):
    deepened("llama", monkeypatch)
    source, output = make_pair("llama", tmp_path)

    def flip(name: str, row: int) -> Callable[[dict[str, torch.Tensor]], object]:
        return lambda tensors: tensors[name].view(torch.int32)[row, 3].bitwise_xor_(1 << 20)

    for name, row in [("model.layers.0.mlp.up_proj.weight", 3), ("model.embed_tokens.weight", PAIRS[0][1])]:
        change(output, flip(name, row))
        with pytest.raises(OutputError, match="last hidden states"):
            forward_check(source, output, PAIRS, budget=PLENTY, whole=0)
        change(output, flip(name, row))
    assert "bit-equal" in forward_check(source, output, PAIRS, budget=PLENTY, whole=0)
    # What lies behind it is not read.
    change(output, flip("model.layers.3.mlp.up_proj.weight", 3))
    assert "bit-equal" in forward_check(source, output, PAIRS, budget=PLENTY, whole=0)
    assert "not run, model of 0.0 GB" in forward_check(source, output, PAIRS, budget=1, whole=0)
