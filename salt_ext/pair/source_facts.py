"""What the source's model says of its own tokens, before the new tokenizer is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salt_ext.checkpoint import Checkpoint
from salt_ext.tokenizer import SourceFacts, configured_ids, counted_pad
from salt_ext.tokenizer.definition import added_tokens
from salt_ext.tokenizer.markers import marker_ids, template_text
from salt_ext.tokenizer.trained import known_unused, ordinary_sample, trained_rows
from salt_ext.vocab import Vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def source_facts(
    checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary, *, judge: bool
) -> SourceFacts:
    """The ids that the source's configurations name, and which of its special tokens were trained.

    Args:
        checkpoint: of the source.
        tokenizer: likewise.
        vocabulary: likewise.
        judge: whether it matters which were trained. Where no chat template tells what the source uses, a few hundred
            rows of its input table are then read.

    Raises:
        InputError: the table cannot be read.
    """
    trained = None
    if judge and not template_text(tokenizer):
        markers = marker_ids(added_tokens(tokenizer, vocabulary), "")
        ordinary, *unused = ordinary_sample(vocabulary), *known_unused(vocabulary, checkpoint.vocabulary_rows)
        found = trained_rows(
            checkpoint.input_rows(markers),
            [checkpoint.input_rows(ids) for ids in unused],
            checkpoint.input_rows(ordinary),
        ).tolist()
        trained = frozenset(number for number, yes in zip(markers, found, strict=True) if yes)
    return SourceFacts(
        trained=trained,
        used=configured_ids(checkpoint.config, checkpoint.generation_config),
        # The family has rows for these whatever its vocabulary, so its code or its processor speaks of them.
        kept=frozenset(range(checkpoint.vocabulary_rows, checkpoint.rows)),
        counted_pad=counted_pad(checkpoint.config),
    )
