"""Source and donor of a transfer, opened and checked from headers and tokenizers before any tensor is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from salt_ext.checkpoint import (
    Checkpoint,
    ModelOptions,
    padded_rows,
    padding_multiple,
    reserved_rows,
    resized_config,
)
from salt_ext.errors import InputError
from salt_ext.pair.source_facts import source_facts
from salt_ext.pair.tokenizer_alone import TokenizerAlone, is_model, open_alone, place_of
from salt_ext.tokenizer import (
    Target,
    TranslatedConfigs,
    build_target,
    load_token_map,
    token_translation,
    translated_configs,
)
from salt_ext.vocab import Anchors, Level, Vocabulary, load_tokenizer, match_vocabularies
from salt_ext.vocab.families import backend_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


VocabularyRule = Literal["extended", "exact"]
# More rows than that are a slip of the pen: no model has so much padding.
_MOST_ROWS = 16
_SPARE_ROWS = 1 << 20


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """What the user says about the models and the new tokenizer; what each means stands at `salt_ext.transfer`.

    Raises:
        InputError: the options contradict each other.
    """

    vocabulary: VocabularyRule = "extended"
    tokenizer: str | Path | None = None
    token_map: str | Path | None = None
    keep_markers: bool | None = None
    embedding: str | None = None
    head: str | None = None
    donor_embedding: str | None = None
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        rules = get_args(VocabularyRule)
        if self.vocabulary not in rules:
            raise InputError(f"vocabulary is {self.vocabulary!r}, expected one of {', '.join(rules)}")
        if self.vocabulary == "exact" and self.keep_markers:
            raise InputError("vocabulary is 'exact', which adds no token: expected no keep_markers beside it")


@dataclass(frozen=True)
class Model:
    """One model of a transfer.

    Attributes:
        checkpoint: its folder.
        tokenizer: its tokenizer.
        vocabulary: what its ids stand for; tokens that have no row in the table are none of them.
        rowless: spellings of these tokens by id.
    """

    checkpoint: Checkpoint
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary
    rowless: Mapping[int, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The folder."""
        return self.checkpoint.folder


@dataclass(frozen=True)
class Pair:
    """The source, whose body is kept, the donor, whose rows are used, and the tokenizer that the new model gets.

    Attributes:
        source: the model to move.
        donor: the model whose table is used, or a tokenizer alone, which has none.
        target: the new model's tokenizer, and what is known of its special tokens.
    """

    source: Model
    donor: Model | TokenizerAlone
    target: Target


def open_pair(source: str | Path, donor: str | Path, options: PairOptions | None = None) -> Pair:
    """Opens source and donor, and makes the new model's tokenizer.

    Args:
        source: folder or hub name of a language model.
        donor: folder or hub name of any model with a fast tokenizer and an input embedding table, or of a fast
            tokenizer alone; or a file that is one, see `load_tokenizer`.
        options: what else the user says.

    Raises:
        InputError: a model is missing, unreadable or of an unknown architecture, the source has no head, a tokenizer is
            not a fast one, a token id lies beyond its model's table, the token map names a token that is not there, or
            an option speaks of a donor's table where there is none.
    """
    options = options or PairOptions()
    trust = options.trust_remote_code
    token_map = None if options.token_map is None else load_token_map(options.token_map)
    old = open_source(source, options)
    old.checkpoint.vocabulary_tensors()
    new = _open_donor(donor, options)
    chosen, vocabulary = new.tokenizer, new.vocabulary
    if options.tokenizer is not None:
        chosen = _tokenizer(options.tokenizer, "tokenizer", trust)
        vocabulary = Vocabulary.from_tokenizer(chosen, name=str(options.tokenizer))
    exact = options.vocabulary == "exact"
    target = build_target(
        old.tokenizer,
        chosen,
        keep_markers=options.keep_markers,
        token_map=token_map,
        model_type=old.checkpoint.config.get("model_type"),
        source_vocabulary=old.vocabulary,
        target_vocabulary=vocabulary,
        facts=source_facts(
            old.checkpoint, old.tokenizer, old.vocabulary, judge=options.keep_markers is None and not exact
        ),
        exact=exact,
    )
    warnings = [_rowless_warning("source", old)] if old.rowless else []
    if isinstance(new, TokenizerAlone):
        warnings += new.warnings
    elif new.rowless and options.tokenizer is None:
        warnings.append(_rowless_warning("donor", new))
    return Pair(old, new, replace(target, warnings=[*warnings, *target.warnings]))


def open_source(source: str | Path, options: PairOptions) -> Model:
    """Opens the source alone.

    Raises:
        InputError: as for `open_pair`.
    """
    asked = ModelOptions(options.embedding, options.head, options.trust_remote_code)
    return _open(source, "source", asked, name=str(source))


def match_pair(pair: Pair, *, level: Level = "exact") -> Anchors:
    """The tokens that the source and the new tokenizer share, see `match_vocabularies`."""
    target = pair.target
    return match_vocabularies(
        pair.source.vocabulary, target.vocabulary, level=level, pairs=target.pairs, mapped=target.mapped
    )


def moved_rows(pair: Pair, *, multiple: int | None = None, rows: int | None = None) -> int:
    """Rows of the new model's tables: the tokens, rows that the model reserves, and padding.

    Args:
        pair: the two models.
        multiple: what the rows are rounded up to a multiple of; None for what the source did.
        rows: how many there shall be; None for as many as `multiple` says.

    Returns:
        What the configuration counts; rows that the family has besides (`VocabularyTensors.extra`) come on top.

    Raises:
        InputError: `rows` are fewer than the tokens need, or there would be absurdly many.
    """
    checkpoint, tokens = pair.source.checkpoint, pair.target.vocabulary.size
    needed = tokens + reserved_rows(checkpoint.config)
    name = "pad_to_multiple_of" if rows is None else "rows"
    if rows is None:
        if multiple is None:
            counted = checkpoint.vocabulary_rows
            used = [number for number, token in enumerate(pair.source.vocabulary.tokens[:counted]) if token is not None]
            multiple = padding_multiple(max(used, default=-1) + 1, counted)
        rows = padded_rows(needed, multiple)
    if not needed <= rows <= _MOST_ROWS * tokens + _SPARE_ROWS:
        also = f" and the model reserves {needed - tokens} rows" if needed > tokens else ""
        raise InputError(
            f"{name}: the new tables would have {rows} rows, expected {needed} or a little more: the new tokenizer has "
            f"{tokens} ids{also}"
        )
    return rows


def moved_configs(pair: Pair, anchors: Anchors, *, rows: int) -> TranslatedConfigs:
    """The new model's configurations: the source's, for tables of `rows` rows and with the new tokens' ids."""
    checkpoint, target = pair.source.checkpoint, pair.target.vocabulary
    # Rows behind the vocabulary's follow its end, also those that the tokenizer has no token for.
    behind = {checkpoint.vocabulary_rows + place: rows + place for place in range(checkpoint.extra_rows)}
    return translated_configs(
        resized_config(checkpoint.config, rows=rows),
        checkpoint.generation_config,
        tokens=behind | token_translation(anchors, pair.source.vocabulary, target),
        pad=target.roles.get("pad"),
    )


def _open(name_or_path: str | Path, what: str, options: ModelOptions, *, name: str, only_input: bool = False) -> Model:
    checkpoint = Checkpoint.open(name_or_path, what=what, options=options, only_input=only_input)
    tokenizer = _tokenizer(checkpoint.folder, what, options.trust_remote_code)
    try:
        vocabulary = Vocabulary.from_tokenizer(tokenizer, name=name)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    pieces = backend_of(tokenizer, what).get_vocab(with_added_tokens=False)
    checkpoint.require_rows(pieces.values())
    rowless = {n: token for n, token in enumerate(vocabulary.tokens) if n >= checkpoint.rows and token is not None}
    return Model(checkpoint, tokenizer, vocabulary.without(rowless) if rowless else vocabulary, rowless)


def _open_donor(donor: str | Path, options: PairOptions) -> Model | TokenizerAlone:
    """A model where there are weights, a tokenizer alone where there are none and no option asks for them."""
    asked = ModelOptions(options.donor_embedding, None, options.trust_remote_code)
    place = place_of(donor, asked)
    if is_model(place):
        return _open(place, "donor", asked, name=str(donor), only_input=True)
    alone = open_alone(place, str(donor), trust_remote_code=options.trust_remote_code)
    if options.donor_embedding is not None:
        raise InputError(f"donor_embedding is {options.donor_embedding!r}, a table of the donor, and {alone.lack}")
    if options.tokenizer is not None:
        raise InputError(
            f"tokenizer is {options.tokenizer}, beside which only the donor's table is used, and {alone.lack}: give "
            f"{options.tokenizer} itself as the donor"
        )
    return alone


def _rowless_warning(what: str, model: Model) -> str:
    named = ", ".join(f"{token!r} (#{number})" for number, token in model.rowless.items())
    return (
        f"{what}: its table of {model.checkpoint.rows} rows has none for {len(model.rowless)} of its tokenizer's added "
        f"tokens, which are left out: {named}"
    )


def _tokenizer(name_or_path: str | Path, what: str, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    try:
        return load_tokenizer(name_or_path, trust_remote_code=trust_remote_code)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
