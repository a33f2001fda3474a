"""`salt-ext inspect`: the command, and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from salt_ext.cli.options import (
    Donor,
    DonorEmbedding,
    Embedding,
    ExactVocabulary,
    Head,
    KeepMarkers,
    Match,
    MatchOption,
    Source,
    TokenizerOption,
    TokenMap,
    TrustRemoteCode,
    VocabularyOption,
    options_of,
)
from salt_ext.display.printing import PlainTable, console, last_words, quoted, say, warn
from salt_ext.runtime.interruption import silent_end
from salt_ext.runtime.progress import watched

if TYPE_CHECKING:
    from rich.console import Console

    from salt_ext.pair.pair import Model, Pair
    from salt_ext.pair.tokenizer_alone import TokenizerAlone
    from salt_ext.pipeline.inspection import Inspection


def inspect(
    context: typer.Context,
    source: Source,
    donor: Donor,
    text: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Text in the new language to measure both tokenizers on; may be repeated."),
    ] = None,
    match: MatchOption = Match.exact,
    vocabulary: ExactVocabulary = VocabularyOption.extended,
    tokenizer: TokenizerOption = None,
    token_map: TokenMap = None,
    keep_markers: KeepMarkers = None,
    embedding: Embedding = None,
    head: Head = None,
    donor_embedding: DonorEmbedding = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Show what a transfer would find: special tokens, anchors, bytes per token, warnings; only a few rows are read."""
    with silent_end():
        from salt_ext.pair.pair import PairOptions
        from salt_ext.pipeline import inspection

    options = options_of(context, PairOptions)
    with watched(None):
        found = inspection.inspect(source, donor, texts=text or (), match=match.value, options=options)
    with last_words():
        print_inspection(found, console())


def print_inspection(found: Inspection, console: Console) -> None:
    """Prints the special tokens first, since a wrong pair there is the costliest mistake."""
    from salt_ext.methods.core.assembly import new_ids
    from salt_ext.pair.left_out import left_out_of, left_out_sentences
    from salt_ext.pair.special_map import special_map

    pair, anchors = found.pair, found.anchors
    special = PlainTable("role", "id", "new tokenizer", "source token", title="Special tokens")
    for entry in special_map(pair, anchors):
        partner = _no_partner(pair, entry) if entry["source"] is None else quoted(entry["source"])
        name = quoted(entry["target"]) + (" (added)" if entry["added"] else "")
        mark = " (token map)" if entry["mapped"] else ""
        special.row(", ".join(entry["roles"]), entry["target_id"], name, partner + mark)
    console.print(special)

    models = PlainTable("", "source", "donor", title="Models")
    for (label, old), (_, new) in zip(_describe(pair.source), _describe(pair.donor), strict=True):
        models.row(label, old, new)
    console.print(models)

    target = pair.target.vocabulary
    tokens = sum(token is not None for token in target.tokens)
    counts = PlainTable("target tokens", "count", "share", title="What becomes of them")
    rows = {f"anchors, {kind}": count for kind, count in anchors.counts().items()}
    rows["new tokens"] = len(new_ids(anchors, target))
    rows["new special tokens"] = tokens - sum(rows.values())
    for label, count in rows.items():
        counts.row(label, f"{count:,}", f"{count / tokens:.1%}")
    console.print(counts)
    several = ", ".join(f"{kind} {count}" for kind, count in anchors.collisions.items())
    say(console, f"forms that several ids share: {several}")

    if found.texts:
        texts = PlainTable("text", "source", "new tokenizer", "covered by anchors", title="Bytes per token")
        texts.columns[0].overflow = "fold"
        for name, before, after, covered in found.texts:
            texts.row(name, f"{before:.3f}", f"{after:.3f}", f"{covered:.1%}")
        console.print(texts)
    for sentence in left_out_sentences(left_out_of(pair)):
        say(console, sentence)
    warn(console, found.warnings)


def _no_partner(pair: Pair, entry: dict[str, Any]) -> str:
    return "none: mean row" if entry["target_id"] in pair.target.vocabulary.special_ids else "none: a new token"


def _describe(model: Model | TokenizerAlone) -> list[tuple[str, str]]:
    from salt_ext.pair.tokenizer_alone import TokenizerAlone

    if isinstance(model, TokenizerAlone):
        vocabulary = model.vocabulary
        return [
            ("model", "none: a tokenizer alone"),
            ("tokenizer", vocabulary.kind),
            ("ids", f"{vocabulary.size:,}"),
            ("rows of the table", "none"),
        ]
    checkpoint, vocabulary = model.checkpoint, model.vocabulary
    named = checkpoint.config.get("architectures")
    classes = [str(name) for name in named] if isinstance(named, list) else []
    return [
        ("model", ", ".join(classes) or checkpoint.config["model_type"]),
        ("tokenizer", vocabulary.kind),
        ("ids", f"{vocabulary.size:,}"),
        ("rows of the table", f"{checkpoint.rows:,}"),
    ]
