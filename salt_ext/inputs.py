"""The two models of a transfer, opened and checked from headers and tokenizers before any tensor is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from salt_ext.checkpoint import (
    Checkpoint,
    ModelOptions,
    padded_rows,
    padding_multiple,
    reserved_rows,
    resized_config,
)
from salt_ext.errors import InputError
from salt_ext.protocol import (
    Target,
    TranslatedConfigs,
    build_target,
    load_token_map,
    token_translation,
    translated_configs,
)
from salt_ext.vocab import Anchors, Level, Vocabulary, load_tokenizer, match_vocabularies

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class PairOptions:
    """What the user says about the models and the new tokenizer; what each means stands at `salt_ext.transfer`."""

    tokenizer: str | Path | None = None
    token_map: str | Path | None = None
    keep_markers: bool | None = None
    embedding: str | None = None
    head: str | None = None
    donor_embedding: str | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Model:
    """One model of a transfer.

    Attributes:
        checkpoint: its folder.
        tokenizer: its tokenizer.
        vocabulary: what its ids stand for.
    """

    checkpoint: Checkpoint
    tokenizer: PreTrainedTokenizerBase
    vocabulary: Vocabulary


@dataclass(frozen=True)
class Pair:
    """The source, whose body is kept, the donor, whose rows are used, and the tokenizer that the new model gets.

    Attributes:
        source: the model to move.
        donor: the model whose table is used.
        target: the new model's tokenizer, and what is known of its special tokens.
    """

    source: Model
    donor: Model
    target: Target


def open_pair(source: str | Path, donor: str | Path, options: PairOptions | None = None) -> Pair:
    """Opens both models, and makes the new model's tokenizer.

    Args:
        source: folder or hub name of a language model.
        donor: folder or hub name of any model with a fast tokenizer and an input embedding table.
        options: what else the user says.

    Raises:
        InputError: a model is missing, unreadable or of an unknown architecture, the source has no head, a tokenizer is
            not a fast one, a token id lies beyond its model's table, or the token map names a token that is not there.
    """
    options = options or PairOptions()
    trust = options.trust_remote_code
    token_map = None if options.token_map is None else load_token_map(options.token_map)
    old = _open(source, "source", ModelOptions(options.embedding, options.head, trust))
    old.checkpoint.vocabulary_tensors()
    new = _open(donor, "donor", ModelOptions(options.donor_embedding, None, trust), only_input=True)
    chosen, vocabulary = new.tokenizer, new.vocabulary
    if options.tokenizer is not None:
        chosen = _tokenizer(options.tokenizer, "tokenizer", trust)
        vocabulary = Vocabulary.from_tokenizer(chosen, name=str(options.tokenizer))
    target = build_target(
        old.tokenizer,
        chosen,
        keep_markers=options.keep_markers,
        # The family has rows for these whatever its vocabulary, so its code or its processor speaks of them.
        kept=range(old.checkpoint.vocabulary_rows, old.checkpoint.rows),
        token_map=token_map,
        model_type=old.checkpoint.config.get("model_type"),
        source_vocabulary=old.vocabulary,
        target_vocabulary=vocabulary,
    )
    return Pair(old, new, target)


def match_pair(pair: Pair, *, level: Level = "exact") -> Anchors:
    """The tokens that the source and the new tokenizer share, see `match_vocabularies`."""
    target = pair.target
    return match_vocabularies(
        pair.source.vocabulary, target.vocabulary, level=level, pairs=target.pairs, mapped=target.mapped
    )


def moved_rows(pair: Pair, *, multiple: int | None = None) -> int:
    """Rows of the new model's tables: the tokens, rows that the model reserves, and padding.

    Args:
        pair: the two models.
        multiple: what the rows are rounded up to a multiple of; None for what the source did.

    Returns:
        What the configuration counts; rows that the family has besides (`VocabularyTensors.extra`) come on top.
    """
    checkpoint = pair.source.checkpoint
    if multiple is None:
        counted = checkpoint.vocabulary_rows
        used = [number for number, token in enumerate(pair.source.vocabulary.tokens[:counted]) if token is not None]
        multiple = padding_multiple(max(used, default=-1) + 1, counted)
    return padded_rows(pair.target.vocabulary.size + reserved_rows(checkpoint.config), multiple)


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


def _open(name_or_path: str | Path, what: str, options: ModelOptions, *, only_input: bool = False) -> Model:
    checkpoint = Checkpoint.open(name_or_path, what=what, options=options, only_input=only_input)
    tokenizer = _tokenizer(checkpoint.folder, what, options.trust_remote_code)
    try:
        vocabulary = Vocabulary.from_tokenizer(tokenizer, name=str(name_or_path))
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
    checkpoint.require_rows(number for number, token in enumerate(vocabulary.tokens) if token is not None)
    return Model(checkpoint, tokenizer, vocabulary)


def _tokenizer(name_or_path: str | Path, what: str, trust_remote_code: bool) -> PreTrainedTokenizerBase:
    try:
        return load_tokenizer(name_or_path, trust_remote_code=trust_remote_code)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
