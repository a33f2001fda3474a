"""config.json for another vocabulary: its size wherever it is stated, every other key as it was."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import transformers

Place = tuple[str, ...]  # of a part: the keys that lead to it, none for the whole configuration

# Parts that are a language model, or the side of one; parts for images and sound have vocabularies of their own.
_TEXT_PARTS = ("text_config", "llm_config", "language_config", "text_encoder", "encoder", "decoder", "generator")
# Other numbers that are one with the vocabulary's size; "decoder_vocab_size" may also be another vocabulary's.
_SIZES = ("vocab_size", "vocab_size_per_layer_input", "padded_vocab_size", "unpadded_vocab_size")


def vocabulary_parts(config: transformers.PretrainedConfig) -> list[Place]:
    """Where a configuration states the size of the text's vocabulary.

    Returns:
        Paths of attributes, () for the configuration itself. The first is the language model's; the others are parts
        that share its vocabulary.
    """
    parts = dict(_parts((), config))
    try:
        text = config.get_text_config()
    except ValueError:  # several parts, none of which is the text's
        text = config
    first = next((path for path, part in parts.items() if part is text), ())
    rows = getattr(text, "vocab_size", None)
    same = [
        path
        for path, part in parts.items()
        if path != first
        and (not path or path[-1] in _TEXT_PARTS)
        and rows is not None
        and vars(part).get("vocab_size") == rows
    ]
    return [first, *same]


def vocabulary_sizes(part: Mapping[str, Any]) -> list[str]:
    """The keys of a language model's part that follow the rows of its input table."""
    keys = [key for key in _SIZES if _is_size(part.get(key))]
    if part.get("decoder_vocab_size") is not None and part["decoder_vocab_size"] == part.get("vocab_size"):
        keys.append("decoder_vocab_size")
    return keys


def resized_config(config: Mapping[str, Any], *, rows: int) -> dict[str, Any]:
    """A model configuration for tables of another size.

    The size is set in every part that states it for the text, and in the language model's part also where it was left
    to the default. Ids of soft tokens that lie behind the text's ("vocab_offset": Gemma3n takes them from tables of its
    own) keep their distance from the end of the table; see `reserved_rows`.

    Args:
        config: config.json of the source.
        rows: rows of the new tables, padding rows included.

    Returns:
        A copy; all else is untouched.
    """
    updated = copy.deepcopy(dict(config))
    known = _known(config)
    first, *same = vocabulary_parts(known) if known is not None else _raw_parts(config)
    part = _raw(updated, first)
    keys = {"vocab_size", *vocabulary_sizes(part if known is None else vars(part_at(known, first)))}
    if (alias := _alias(known, first)) in part:
        keys = keys - {"vocab_size"} | {str(alias)}
    part.update(dict.fromkeys(sorted(keys), rows))
    for path in same:
        part = _raw(updated, path)
        part.update(dict.fromkeys(vocabulary_sizes(part), rows))
    if known is not None:
        shift = rows - config_rows(config)
        for path, offset in _offsets(known):
            _raw(updated, path)["vocab_offset"] = offset + shift
    return updated


def config_rows(config: Mapping[str, Any]) -> int:
    """The rows that a configuration states for the text's input table."""
    known = _known(config)
    if known is not None:
        return int(part_at(known, vocabulary_parts(known)[0]).vocab_size)
    return int(_raw(dict(config), _raw_parts(config)[0])["vocab_size"])


def reserved_rows(config: Mapping[str, Any]) -> int:
    """The rows at the end of the source's table whose ids the model looks up elsewhere; no text token may have one.

    Gemma3n's multimodal models embed the ids from "vocab_offset" on with tables of the vision and audio parts. Zero for
    every other family. A new table needs as many rows beyond its tokens.
    """
    known = _known(config)
    offsets = [offset for _, offset in _offsets(known)] if known is not None else []
    return config_rows(config) - min(offsets) if offsets else 0


def _known(config: Mapping[str, Any]) -> transformers.PretrainedConfig | None:
    """The configuration as transformers reads it, defaults filled in; None where it has no class for it."""
    try:
        made = transformers.AutoConfig.for_model(config["model_type"])
        return type(made).from_dict(copy.deepcopy(dict(config)))
    except Exception:  # an unknown type, or keys that the class refuses
        return None


def _parts(path: Place, config: transformers.PretrainedConfig) -> Iterable[tuple[Place, transformers.PretrainedConfig]]:
    yield path, config
    for key, value in vars(config).items():
        if isinstance(value, transformers.PretrainedConfig):
            yield from _parts((*path, key), value)


def _raw_parts(config: Mapping[str, Any]) -> list[Place]:
    """As `vocabulary_parts`, for a configuration that transformers has no class for."""
    parts = [key for key in _TEXT_PARTS if isinstance(config.get(key), dict)]
    # A side without a vocabulary is one for images or sound; a part that is called text may leave its size out.
    texts = [key for key in parts if "vocab_size" in config[key] or key.endswith("_config")]
    if not texts:
        return [()]
    rows = config[texts[0]].get("vocab_size", config.get("vocab_size"))
    same: list[Place] = [(key,) for key in texts[1:] if config[key].get("vocab_size") == rows]
    return [(texts[0],), *same, *([()] if config.get("vocab_size", rows) == rows else [])]


def _offsets(known: transformers.PretrainedConfig) -> list[tuple[Place, int]]:
    found = [(path, vars(part).get("vocab_offset")) for path, part in _parts((), known)]
    return [(path, offset) for path, offset in found if isinstance(offset, int)]


def part_at(config: transformers.PretrainedConfig, path: Place) -> Any:
    """The part of a configuration at a path of attributes, see `vocabulary_parts`."""
    part: Any = config
    for key in path:
        part = getattr(part, key)
    return part


def _raw(config: dict[str, Any], path: Place) -> dict[str, Any]:
    """The part of the JSON at a path, as deep as it goes: older files keep the text's keys at the top."""
    for key in path:
        if not isinstance(config.get(key), dict):
            break
        config = config[key]
    return config


def _alias(known: transformers.PretrainedConfig | None, path: Place) -> str | None:
    """The name that a family's JSON has for vocab_size, where that is another one."""
    if known is None:
        return None
    names = part_at(known, path).attribute_map
    return next((alias for alias, name in names.items() if name == "vocab_size"), None)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
