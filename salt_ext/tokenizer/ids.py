"""The token ids that a model's configurations hold, for another vocabulary."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from salt_ext.errors import InputError
from salt_ext.vocab import Anchors, Vocabulary

# Single ids, or lists of them.
_ID_KEY = re.compile(
    r".*_token_ids?|.*_token_index|(bos|eos|pad|unk|mask)_index"
    r"|(begin_)?suppress_tokens|bad_words_ids|force_words_ids|(lang|task|lang_code)_to_id"
)
# Ids of codebooks of sound and images, and whole parts of a configuration that know no text.
_OTHER_KEY = re.compile(r"(codec|codebook|vq|semantic|coarse|fine|depth_decoder)_.*")
_OTHER_PART = re.compile(
    r".*(vision|visual|image|video|audio|speech|sound|acoustic|codec|vq|talker|token2wav|depth|quantiz).*"
)
# These compute positions from the padding token's id, so another id would shift every position.
_PAD_COUNTS = re.compile(
    r"(xlm-)?roberta(-xl|-prelayernorm)?|camembert|data2vec-text|xmod|m2m_100|nllb-moe|fsmt|prophetnet|trocr"
    r"|speech_to_text|speecht5|seamless_m4t(_v2)?|kosmos-2(\.5)?(_text_model)?"
)
# These compute a sinusoidal table whose row of that number is zero; the first two rows stand for no position.
_PAD_ZEROES = re.compile(r"xglm")
_FREE_ROWS = 2
_NO_TOKEN = -1


@dataclass(frozen=True)
class TranslatedConfigs:
    """Configurations for the new vocabulary.

    Attributes:
        config: config.json.
        generation_config: generation_config.json; None where the source has none and needs none.
        warnings: one sentence for every id that has no target token.
    """

    config: dict[str, Any]
    generation_config: dict[str, Any] | None
    warnings: list[str]


def token_translation(anchors: Anchors, source: Vocabulary, target: Vocabulary) -> dict[int, int]:
    """Source id -> target id, for every source token that some target token equals.

    Special pairs go first, then the user's, then equal spellings, then the lowest target id.
    """
    ranks = {"special": 0, "mapped": 1}
    found: dict[int, tuple[int, bool, int]] = {}
    rows = zip(anchors.source_ids.tolist(), anchors.target_ids.tolist(), anchors.kinds.tolist(), strict=True)
    for old, new, kind in rows:
        candidate = (ranks.get(kind, 2), source.tokens[old] != target.tokens[new], new)
        found[old] = min(found.get(old, candidate), candidate)
    return {old: new for old, (_, _, new) in found.items()}


def translated_configs(
    config: Mapping[str, Any],
    generation_config: Mapping[str, Any] | None,
    *,
    tokens: Mapping[int, int],
    pad: int | None,
) -> TranslatedConfigs:
    """Replaces every id of a text token in the configurations; all else stays as it is.

    Ids in lists that have no target token are dropped, single ones become null, or -1 where the model's configuration
    takes no null (as for most placeholders of images); both are reported. Negative ids stand for no token and stay. A
    padding id that is null or has no target token becomes the target's. Nothing else
    is set that was not there before, with one exception: where config.json must not name the new padding token, since
    the model zeroes the position of that number, generation_config.json does.

    Args:
        config: config.json of the source.
        generation_config: its generation_config.json, None where it has none.
        tokens: source id -> target id, see `token_translation`.
        pad: the target's padding token.

    Raises:
        InputError: the model counts positions from the padding token's id, and the target's differs.
    """
    lost: list[_Lost] = []
    new = _translated(copy.deepcopy(dict(config)), _Context("config.json", tokens, pad, lost))
    generation = None
    if generation_config is not None:
        context = _Context("generation_config.json", tokens, pad, lost)
        generation = _translated(copy.deepcopy(dict(generation_config)), context)
    for old_part, part in _parts(config, new):
        _check_counted(old_part, part)
        zeroed = [_zeroes_a_position(one) for one in (old_part, part)]
        if any(zeroed) and part["pad_token_id"] != old_part["pad_token_id"]:
            generation = generation or {key: value for key, value in part.items() if key.endswith("_token_id")}
            generation["pad_token_id"] = part["pad_token_id"]
            part["pad_token_id"] = old_part["pad_token_id"] if zeroed[0] else None
    return TranslatedConfigs(new, generation, [str(entry) for entry in lost])


class _Lost(NamedTuple):
    place: str
    number: int

    def __str__(self) -> str:
        return f"{self.place}: the source's token id {self.number} has no target token and was taken out"


class _Context(NamedTuple):
    """Where the translation is: the path of keys, and what it needs to know."""

    place: str
    tokens: Mapping[int, int]
    pad: int | None
    lost: list[_Lost]

    def within(self, key: str) -> _Context:
        return self._replace(place=f"{self.place}, {key}")


def configured_ids(config: Mapping[str, Any], generation_config: Mapping[str, Any] | None) -> frozenset[int]:
    """The ids of text tokens that a model's configurations name."""
    asked: list[_Lost] = []
    for part in (config, generation_config or {}):
        _translated(copy.deepcopy(dict(part)), _Context("", {}, None, asked))
    return frozenset(number for _, number in asked)


def counted_pad(config: Mapping[str, Any]) -> int | None:
    """The padding token's id where the model counts positions from it, so that the new one must have it; else None."""
    parts = [part for part, _ in _parts(config, dict(config))]
    found = {_pad_of(part) for part in parts if _PAD_COUNTS.fullmatch(str(part.get("model_type")))}
    numbers = [number for number in found if isinstance(number, int) and number >= 0]
    return numbers[0] if len(found) == len(numbers) == 1 else None


def _translated(part: dict[str, Any], context: _Context) -> dict[str, Any]:
    for key, value in part.items():
        inside = context.within(key)
        if _OTHER_KEY.fullmatch(key):
            continue
        if key == "forced_decoder_ids":
            part[key] = _second(value, inside)
        elif key == "sequence_bias":
            part[key] = _first(value, inside)
        elif _ID_KEY.fullmatch(key):
            part[key] = _ids(value, inside)
            if key == "pad_token_id" and part[key] is None:
                part[key] = context.pad
            if part[key] in (None, []) and value not in (None, []):
                part[key] = None if _takes_null(part.get("model_type"), key) else _no_token(value)
        elif isinstance(value, dict) and not _OTHER_PART.fullmatch(key):
            part[key] = _translated(value, inside)
        elif isinstance(value, list) and not _OTHER_PART.fullmatch(key):
            part[key] = [_translated(item, inside) if isinstance(item, dict) else item for item in value]
    return part


def _no_token(value: Any) -> Any:
    """What stands for no token in the place of an id, or of ids in a list, whose places may mean something."""
    return [_no_token(inner) for inner in value] if isinstance(value, list) else _NO_TOKEN


def _takes_null(model_type: object, key: str) -> bool:
    """Whether transformers opens a configuration of that type with null for the key."""
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        return True
    fields = getattr(CONFIG_MAPPING[model_type], "__dataclass_fields__", {})
    return key not in fields or "None" in str(fields[key].type)


def _ids(value: Any, context: _Context) -> Any:
    """An id, or ids in lists or dictionaries; what is no id stays. A sequence of ids that loses one is no more."""
    if isinstance(value, dict):
        found = {key: _ids(inner, context.within(str(key))) for key, inner in value.items()}
        return {key: inner for key, inner in found.items() if inner is not None or value[key] is None}
    if isinstance(value, list):
        nested = [(inner, _ids(inner, context)) for inner in value]
        return [
            new
            for old, new in nested
            if old is None or (new is not None and not (isinstance(old, list) and len(new) < len(old)))
        ]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        return value
    if value not in context.tokens:
        context.lost.append(_Lost(context.place, value))
    return context.tokens.get(value)


def _second(value: Any, context: _Context) -> Any:
    """Of pairs (position, id)."""
    if not _are_pairs(value):
        return value
    pairs = [(position, old, _ids(old, context)) for position, old in value]
    return [[position, new] for position, old, new in pairs if old is None or new is not None]


def _first(value: Any, context: _Context) -> Any:
    """Of pairs (sequence of ids, number)."""
    if not _are_pairs(value) or not all(isinstance(sequence, list) for sequence, _ in value):
        return value
    pairs = [(old, _ids(old, context), bias) for old, bias in value]
    return [[new, bias] for old, new, bias in pairs if len(new) == len(old)]


def _are_pairs(value: Any) -> bool:
    """What else may stand there is not understood, and stays."""
    return isinstance(value, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in value)


def _parts(old: Mapping[str, Any], new: dict[str, Any]) -> list[tuple[Mapping[str, Any], dict[str, Any]]]:
    """A configuration and all parts of it, before and after."""
    nested = [_parts(old[key], value) for key, value in new.items() if isinstance(value, dict)]
    return [(old, new), *(pair for inner in nested for pair in inner)]


def _pad_of(part: Mapping[str, Any]) -> Any:
    """The padding token's id, the family's own where the configuration leaves it to the default."""
    if "pad_token_id" in part or part["model_type"] not in CONFIG_MAPPING:
        return part.get("pad_token_id")
    return getattr(CONFIG_MAPPING[part["model_type"]](), "pad_token_id", None)


def _check_counted(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    before, after = old.get("pad_token_id"), new.get("pad_token_id")
    if before != after and _PAD_COUNTS.fullmatch(str(old.get("model_type"))):
        raise InputError(
            f"source: a model of type {old['model_type']} counts positions from its padding token's id, {before}; the "
            f"target's padding token has id {after}, expected the same: choose a donor that has it there, and "
            "leave out --vocabulary exact, which keeps the ids as they are"
        )


def _zeroes_a_position(part: Mapping[str, Any]) -> bool:
    pad = part.get("pad_token_id")
    return pad is not None and pad >= _FREE_ROWS and _PAD_ZEROES.fullmatch(str(part.get("model_type"))) is not None
