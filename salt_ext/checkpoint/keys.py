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


def _rules(model: transformers.PreTrainedModel) -> tuple[list[Any], list[Any]]:
    """transformers' rules for this model: for keys of other names, and for tensors made of several."""
    if get_model_conversion_mapping is None:
        return [], []
    rules = get_model_conversion_mapping(model)
    return (
        [rule for rule in rules if isinstance(rule, WeightRenaming)],
        [rule for rule in rules if isinstance(rule, WeightConverter)],
    )
