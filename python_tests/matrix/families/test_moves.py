"""Every family, tied or not, in every dtype, format and kind of target: whatever the vocabulary does not index stays.

Tiny random models with the keys that transformers writes for the real ones. On a text of tokens that both vocabularies
have, the new model's last hidden states are the source's bit for bit: so every weight, every position and every
configured number that the forward pass uses is the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file

import salt_ext


def test_moves(case, sources, donors, shared_tokens, toolbox, tmp_path):
    source, (donor, other) = sources(case), donors[case.target]
    salt_ext.transfer(source.folder, donor, tmp_path / "out")
    after = toolbox.run(tmp_path / "out", [other.ids[token] for token in source.text], case.auto)
    toolbox.bits_equal(after.hidden, source.before.hidden, "last hidden states")
    exact, bound = toolbox.exact_logits(source.before, [source.made.ids[token] for token in shared_tokens])
    for made, ids in ((source.before, source.made.ids), (after, other.ids)):
        found = made.logits[:, [ids[token] for token in shared_tokens]].double()
        assert ((found - exact).abs() <= bound).all()

    model, tokenizer = after.model, transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert source.before.tied == after.tied == case.tied
    config = model.config.get_text_config()
    assert len(after.head) == len(model.get_input_embeddings().weight) == config.vocab_size >= len(tokenizer)
    assert model.dtype == source.before.model.dtype
    _check_files(source, tmp_path / "out", other, len(after.head), toolbox)
    _check_ids(source, tmp_path / "out", after, tokenizer)
    prompt = torch.tensor([[other.ids[token] for token in source.text[:5]]])
    made = model.generate(prompt, max_new_tokens=3, min_new_tokens=2, do_sample=False)
    assert made.shape[1] > (1 if model.config.is_encoder_decoder else 5)
    assert int(made.max()) < config.vocab_size


def _check_files(source: Any, output: Path, other: Any, rows: int, toolbox: Any) -> None:
    """What the vocabulary indexes has a dimension of as many rows, a size that nothing else has."""
    pickled = sorted(source.folder.glob("*.bin"))
    before = toolbox.tensors(source.folder)
    for file in pickled:
        before |= torch.load(file, weights_only=True)
    after = toolbox.tensors(output)
    assert after.keys() == before.keys() - source.doubled
    sizes = {len(source.before.head), getattr(source.before.model.config, "vocab_size_per_layer_input", None)}
    old = torch.tensor([source.made.ids[token] for token in source.text])
    new = torch.tensor([other.ids[token] for token in source.text])
    tables = 0
    for key, tensor in after.items():
        dims = [dim for dim, size in enumerate(before[key].shape) if size in sizes]
        if not dims:
            toolbox.bits_equal(tensor, before[key], key)
            continue
        assert len(dims) == 1, key
        assert tensor.shape[dims[0]] == rows, key
        within = torch.where(old < before[key].shape[dims[0]], old, 0)
        toolbox.bits_equal(tensor.index_select(dims[0], new), before[key].index_select(dims[0], within), key)
        tables += 1
    assert tables >= (1 if source.before.tied else 2)
    indexed = {key for key in before if not sizes.isdisjoint(before[key].shape)}
    for file in source.folder.iterdir():
        untouched = file.suffix == ".safetensors" and indexed.isdisjoint(load_file(file))
        if untouched or file.name in ("LICENSE", "preprocessor_config.json"):
            assert (output / file.name).read_bytes() == file.read_bytes(), file.name
    assert not list(output.glob("*.bin"))


def _check_ids(source: Any, output: Path, after: Any, tokenizer: Any) -> None:
    """Configured ids are the new tokenizer's tokens of that role, which have the rows of the source's."""
    table, given = after.model.get_input_embeddings().weight, source.made.tokenizer
    rows = source.before.model.get_input_embeddings().weight
    text, generation = after.model.config.get_text_config(), after.model.generation_config
    for role in ("bos", "eos", "pad"):
        old, new = getattr(given, f"{role}_token_id"), getattr(tokenizer, f"{role}_token_id")
        if old is None:
            continue
        assert torch.equal(table[new], rows[old]), role
        stated = getattr(text, f"{role}_token_id")
        # XGLM makes zero the position of that number, so its configuration cannot name the token.
        zeroed = role == "pad" and text.model_type == "xglm"
        assert stated == new or (zeroed and getattr(generation, f"{role}_token_id") == new), role
    for file in ("config.json", "generation_config.json"):
        before = dict(_entries(json.loads((source.folder / file).read_text())))
        entries = dict(_entries(json.loads((output / file).read_text())))
        ids = {key for key in entries.keys() | before.keys() if key.endswith(("_token_id", "_token_index"))}
        for key in ids & entries.keys():
            assert entries[key] is None or 0 <= entries[key] < len(tokenizer), (file, key)
        for key in (entries.keys() | before.keys()) - ids:
            assert "vocab_size" in key or entries[key] == before[key], (file, key)


def _entries(part: dict[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """What a configuration states, by its path of keys."""
    for key, value in part.items():
        if isinstance(value, dict):
            yield from _entries(value, f"{place}{key}.")
        else:
            yield place + key, value
