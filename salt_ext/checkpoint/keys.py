"""From the keys of a checkpoint, old or new, to the parameters of the model, as `from_pretrained` matches them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import transformers

try:
    # transformers shares these with its sister libraries, but promises them to nobody else.
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming
except ImportError:  # keys that are the parameters' own names, the normal case, are matched without
    get_model_conversion_mapping = None  # type: ignore[assignment]

# What puts a name of its own before the names of the model that it wraps.
_WRAPPERS = {"_orig_mod.": "torch.compile", "module.": "DistributedDataParallel"}
# Where a multimodal model keeps its language model, when that is all that can be built of it.
_NESTING = "language_model."


def match_keys(
    model: transformers.PreTrainedModel, names: Collection[str], keys: Iterable[str]
) -> tuple[dict[str, str], set[str]]:
    """Matches the keys of a checkpoint with the tensors of a model.

    Args:
        model: the model.
        names: the names of its parameters and buffers.
        keys: the keys of the checkpoint.

    Returns:
        Name -> key, the first that matches, and the keys that transformers would load into no tensor of the model.
    """
    renamings, converters = _rules(model)
    prefix = f"{model.base_model_prefix}."
    found: dict[str, str] = {}
    unknown: set[str] = set()
    for key in keys:
        renamed = key
        for rule in renamings:
            renamed, _ = rule.rename_source_key(renamed)
        plain = renamed.replace(_NESTING, "", 1)
        candidates = (renamed, renamed.removeprefix(prefix), prefix + renamed, plain, prefix + plain)
        name = next((candidate for candidate in candidates if candidate in names), None)
        if name is not None:
            found.setdefault(name, key)
        elif not any(rule.rename_source_key(renamed)[1] is not None for rule in converters):
            unknown.add(key)
    return found, unknown


def pieces_of(model: transformers.PreTrainedModel, name: str) -> list[str]:
    """The endings of the keys that transformers makes a tensor of, where it makes it of several; else none."""
    for rule in _rules(model)[1]:
        sources, targets = getattr(rule, "source_patterns", []), getattr(rule, "target_patterns", [])
        if len(sources) > 1 and any(name.endswith(str(target)) for target in targets):
            return [str(source) for source in sources]
    return []


def wrapper_of(keys: Collection[str]) -> str | None:
    """The prefix that a wrapper of training has put before every key of a checkpoint, None where there is none.

    transformers loads no such key, so that a model would be made of random numbers without an error.
    """
    for prefix in _WRAPPERS:
        if keys and all(key.startswith(prefix) for key in keys):
            inside = wrapper_of([key.removeprefix(prefix) for key in keys])
            return prefix + (inside or "")
    return None


def unwrapping_hint(prefix: str) -> str:
    """What a user whose keys begin with such a prefix can do."""
    wrappers = " and ".join(wrapper for part, wrapper in _WRAPPERS.items() if part in prefix)
    return (
        f"every key begins with {prefix!r}, which {wrappers} put there, and transformers would load none of them; save "
        f"the model that lies within (model.{prefix}save_pretrained(FOLDER)), or take {prefix!r} off the keys with "
        "safetensors.torch.load_file and save_file"
    )


def _rules(model: transformers.PreTrainedModel) -> tuple[list[Any], list[Any]]:
    """transformers' rules for this model: for keys of other names, and for tensors made of several."""
    if get_model_conversion_mapping is None:
        return [], []
    rules = get_model_conversion_mapping(model)
    return (
        [rule for rule in rules if isinstance(rule, WeightRenaming)],
        [rule for rule in rules if isinstance(rule, WeightConverter)],
    )
