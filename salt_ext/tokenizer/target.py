"""The tokenizer of the new model: the target's vocabulary and algorithm under the source's conventions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE

from salt_ext.errors import InputError
from salt_ext.tokenizer.conversation import chat_warnings
from salt_ext.tokenizer.definition import added_tokens, bare_backend, special_template_of, unknown_id
from salt_ext.tokenizer.exact import partners_by_role, special_template_warning
from salt_ext.tokenizer.markers import kept_markers, left_out, marker_ids, template_text
from salt_ext.tokenizer.matching_special import match_special_tokens
from salt_ext.tokenizer.places import swap_warning, with_pad_in_place
from salt_ext.tokenizer.saved import SavedTokenizer
from salt_ext.tokenizer.spacing import space_once
from salt_ext.tokenizer.template import SpecialTemplate, framed_post_processor
from salt_ext.tokenizer.token_map import TokenMap, resolve_token_map
from salt_ext.vocab import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Roles that the target keeps where the source has none: what its algorithm writes for unknown text, and filling.
_OWN_ROLES = ("unk", "pad")
# How an answer is read. No version of transformers knows all three: the first is gone since 5.15, the second came with
# 5.13, the third with 5.20.
_READERS = ("response_schema", "response_template", "chat_control_tokens")


@dataclass(frozen=True)
class SourceFacts:
    """What the source's model says of its tokens.

    Attributes:
        trained: ids of special tokens and markers whose rows were trained; None where that is not known.
        used: ids that its configurations name.
        kept: ids whose added tokens are added in any case.
        counted_pad: the id that its padding token must keep, see `counted_pad`.
    """

    trained: frozenset[int] | None = None
    used: frozenset[int] = frozenset()
    kept: frozenset[int] = frozenset()
    counted_pad: int | None = None


_NO_FACTS = SourceFacts()


@dataclass(frozen=True)
class Target:
    """The tokenizer of the new model, and what is known of its special tokens.

    Attributes:
        tokenizer: to be saved; it opens through AutoTokenizer as it is.
        vocabulary: what its ids stand for: the target's own ids, added tokens behind them, but for `swapped`.
        pairs: target id -> source id of special tokens and markers, every source id at most once.
        mapped: target id -> source id, or None for no partner: the user's own pairs, which go before all others.
        added: ids of the tokens that the target lacked, ascending.
        warnings: sentences for the user.
        left_out: reason -> ids of the source's special tokens that have no place in the new tokenizer.
        swapped: two ids whose tokens took each other's place; None where the target's own ids all stay.
    """

    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary
    pairs: dict[int, int]
    mapped: dict[int, int | None]
    added: tuple[int, ...]
    warnings: list[str]
    left_out: dict[str, tuple[int, ...]] = field(default_factory=dict)
    swapped: tuple[int, int] | None = None


def build_target(
    source: PreTrainedTokenizerBase,
    target: PreTrainedTokenizerBase,
    *,
    keep_markers: bool | None = None,
    token_map: TokenMap | None = None,
    model_type: str | None = None,
    source_vocabulary: Vocabulary | None = None,
    target_vocabulary: Vocabulary | None = None,
    facts: SourceFacts = _NO_FACTS,
    exact: bool = False,
) -> Target:
    """Builds a tokenizer with the target's vocabulary that speaks the source's protocol; neither is changed.

    From the target come vocabulary and algorithm, its unknown token, and its padding token where the source has none.
    From the source come what is put before and after a text, the sides of padding and truncation, the longest length,
    the names of the model's inputs, the chat template, and the roles. Where markers are kept, a target that puts a
    space before every segment of a text puts it before the text alone, see `space_once`. A role is played by the
    target's token of the same spelling if that is special or a marker that the chat template writes, else by the
    target's token of that role or of its stand-in (cls for bos, sep for eos), else by the source's own token, which is
    added. Chat markers that the target lacks are added, special or not as in the source: a tool's tag that is not
    special there must not be special here, since decoding without special tokens would then drop what the program that
    reads the answer looks for.
    A model that counts positions from its padding token's id gets that token there: the two ids change places.

    With `exact` the target stays as it is, with its own roles, frame and template; what the source's special tokens
    stood for goes to the target's own.

    Args:
        source: a fast tokenizer.
        target: a fast tokenizer.
        keep_markers: whether the markers are added; None for all of them where the source has a chat template, else
            for those that were trained. Those that its configurations name are added unless this is False.
        token_map: the user's pairs, see `load_token_map`.
        model_type: of the model that the tokenizer will lie beside, from its config.json.
        source_vocabulary: what the source's ids stand for; None reads it from the tokenizer.
        target_vocabulary: what the target's stand for, likewise; added tokens that it lacks are left out.
        facts: what the source's model says of its tokens.
        exact: keep the target's tokenizer as it is.

    Raises:
        InputError: a tokenizer is not a fast one or not understood, an entry of the map is wrong, the target's
            tokenizer cannot take more tokens, or none that stands where the padding token must.
    """
    given = source_vocabulary or Vocabulary.from_tokenizer(source, name="source")
    own = target_vocabulary or Vocabulary.from_tokenizer(target, name="target")
    if facts.counted_pad is not None and "pad" not in given.roles and facts.counted_pad < given.size:
        given = replace(given, roles={**given.roles, "pad": facts.counted_pad})
    flags, frame, template = added_tokens(source, given), special_template_of(source, given), template_text(source)
    if exact:
        return _exact_target(source, target, given, own, flags, frame, token_map or {}, model_type)
    keep = bool(template) if keep_markers is None else keep_markers
    markers, unknown = marker_ids(flags, template), unknown_id(given)
    wanted = kept_markers(flags, template, keep=keep_markers, trained=facts.trained, used=facts.used, unknown=unknown)
    wanted = sorted({*wanted, *(flags.keys() & facts.kept)})
    partners = match_special_tokens(given, own, markers=wanted, template=template, frame=frame.special_ids)
    roles = {role: own.tokens[own.roles[role]] for role in _OWN_ROLES if role in own.roles}
    roles |= {role: partners[old] for role, old in given.roles.items() if old in partners and role != "unk"}

    backend = bare_backend(target, own)
    if keep or {partners.get(old) for old in wanted}.difference(own.tokens, {None}):
        space_once(backend)
    _add_tokens(backend, partners, roles, flags, own)
    backend, swapped = with_pad_in_place(backend, partners, facts.counted_pad, name=own.name)
    backend.post_processor = _post_processor(backend, frame, partners)
    tokenizer = SavedTokenizer(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        **{f"{role}_token": token for role, token in roles.items()},
        **_habits(source, target, partners, set(backend.get_vocab())),
    )
    tokenizer.chat_template = source.chat_template
    tokenizer.model_type = model_type

    vocabulary = Vocabulary.from_tokenizer(tokenizer, name=own.name)
    lost = [
        content
        for content in (flags[number].content for number in markers)
        if content in template and content not in partners.values()
    ]
    warnings = [f"the chat template writes {', '.join(lost)}, which the new tokenizer cuts into pieces"] * bool(lost)
    if swapped is not None:
        warnings.append(swap_warning(vocabulary, swapped, facts.counted_pad))
    places = {} if swapped is None else {swapped[0]: swapped[1], swapped[1]: swapped[0]}
    return Target(
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        pairs=_pairs(partners, vocabulary),
        mapped=resolve_token_map(token_map or {}, given, vocabulary),
        added=tuple(sorted(places.get(number, number) for number in range(own.size, vocabulary.size))),
        warnings=[*warnings, *(chat_warnings(source, tokenizer) if keep else [])],
        left_out=left_out(flags, partners, keep=keep_markers, unknown=unknown),
        swapped=swapped,
    )


def _exact_target(
    source: PreTrainedTokenizerBase,
    target: PreTrainedTokenizerBase,
    given: Vocabulary,
    own: Vocabulary,
    flags: Mapping[int, AddedToken],
    frame: SpecialTemplate,
    token_map: TokenMap,
    model_type: str | None,
) -> Target:
    """The target's tokenizer with its own roles, frame and template; only what a model's body asks is the source's."""
    partners = partners_by_role(given, own)
    backend = bare_backend(target, own, exact=True)
    spelt = {number: str(own.tokens[number]) for number in own.special_ids}
    habits = _habits(target, target, spelt, set(backend.get_vocab()))
    tokenizer = SavedTokenizer(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        **{f"{role}_token": own.tokens[number] for role, number in own.roles.items()},
        **habits | {"model_max_length": source.model_max_length, "model_input_names": list(source.model_input_names)},
    )
    tokenizer.chat_template = target.chat_template
    tokenizer.model_type = model_type
    vocabulary = Vocabulary.from_tokenizer(tokenizer, name=own.name)
    warning = special_template_warning(frame, special_template_of(target, own), partners, given, own)
    return Target(
        tokenizer=tokenizer,
        vocabulary=vocabulary,
        pairs=_pairs(partners, vocabulary),
        mapped=resolve_token_map(token_map, given, vocabulary, adds="--vocabulary exact adds none"),
        added=(),
        warnings=[warning] if warning is not None else [],
        left_out=left_out(flags, partners, keep=False, unknown=unknown_id(given)),
    )


def _pairs(partners: Mapping[int, str], vocabulary: Vocabulary) -> dict[int, int]:
    ids = {token: number for number, token in enumerate(vocabulary.tokens)}
    return dict(sorted((ids[token], old) for old, token in partners.items() if token in ids))


def _add_tokens(
    backend: Tokenizer,
    partners: Mapping[int, str],
    roles: Mapping[str, str | None],
    flags: Mapping[int, AddedToken],
    own: Vocabulary,
) -> None:
    """Adds the partners that the target lacks, in the order of the source's ids, and sets tokens apart that it has."""
    apart = {token.content: token for token in backend.get_added_tokens_decoder().values()}
    playing = {token for token in roles.values() if token is not None}
    wanted: dict[str, AddedToken] = {}
    for old, token in sorted(partners.items()):
        if token not in apart or (token in playing and not apart[token].special):
            wanted[token] = _with_flags(token, flags.get(old), special=token in playing)
    wanted |= {t: AddedToken(t, special=True, normalized=False) for t in sorted(playing - set(apart) - set(wanted))}
    backend.add_tokens(list(wanted.values()))
    new = [token for token in wanted if token not in own.tokens]
    found = [backend.token_to_id(token) for token in new]
    if found != list(range(own.size, own.size + len(new))):
        raise InputError(
            f"tokenizer of {own.name}: it cannot take {len(new)} more tokens behind its last id {own.size - 1}, since "
            "its ids have holes"
        )


def _with_flags(token: str, model: AddedToken | None, *, special: bool) -> AddedToken:
    """An added token with the flags of the source's, special in any case if it plays a role.

    It is found in the text as it was written: the target's normalizer, which may change its letters or put a space
    before it, is not the one that the source's flag speaks of.
    """
    if model is None:
        return AddedToken(token, special=True, normalized=False)
    flags = {flag: getattr(model, flag) for flag in ("single_word", "lstrip", "rstrip")}
    return AddedToken(token, **flags, normalized=False, special=special or model.special)


def _post_processor(backend: Tokenizer, frame: SpecialTemplate, partners: Mapping[int, str]) -> Any:
    """Made by the library from its definition, within a tokenizer without a vocabulary."""
    before = backend.post_processor
    definition = None if before is None else json.loads(before.__getstate__())
    ids = backend.get_vocab()
    spelt = {old: (partners[old], ids[partners[old]]) for old in frame.special_ids}
    empty = json.loads(Tokenizer(BPE()).to_str())
    empty["post_processor"] = framed_post_processor(definition, frame, spelt)
    return Tokenizer.from_str(json.dumps(empty)).post_processor


def _habits(
    source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase, partners: Mapping[int, str], known: set[str]
) -> dict[str, Any]:
    """What a tokenizer does besides cutting a text."""
    spelt = {str(source.convert_ids_to_tokens(old)): token for old, token in partners.items()}
    named = set(source.SPECIAL_TOKENS_ATTRIBUTES) - set(type(source).SPECIAL_TOKENS_ATTRIBUTES)
    own_names = {name: spelt.get(str(token)) for name in sorted(named) if (token := getattr(source, name, None))}
    habits = {
        "padding_side": source.padding_side,
        "truncation_side": source.truncation_side,
        "model_max_length": source.model_max_length,
        "model_input_names": list(source.model_input_names),
        "split_special_tokens": source.split_special_tokens,
        "clean_up_tokenization_spaces": target.clean_up_tokenization_spaces,
        "extra_special_tokens": [spelt[str(t)] for t in source.extra_special_tokens if spelt.get(str(t)) in known],
    }
    habits |= {name: getattr(source, name, None) for name in _READERS}
    return {key: value for key, value in habits.items() if value is not None} | {
        "model_specific_special_tokens": {name: token for name, token in own_names.items() if token is not None}
    }
