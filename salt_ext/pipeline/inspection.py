"""What can be known of a transfer before paying for it: from configurations, headers, tokenizers and a few rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from salt_ext.checkpoint import reserved_rows
from salt_ext.display.printing import PlainTable, quoted, say, warn
from salt_ext.files.text_lines import read_lines
from salt_ext.methods.core.assembly import new_ids
from salt_ext.pair.left_out import left_out_of, left_out_sentences
from salt_ext.pair.pair import Model, Pair, PairOptions, match_pair, open_pair
from salt_ext.pair.tokenizer_alone import TokenizerAlone
from salt_ext.vocab import Anchors, Level, anchor_coverage, bytes_per_token
from salt_ext.vocab.losses import changed_lines, lost_features

if TYPE_CHECKING:
    from rich.console import Console

# A text is a sample: more of it would change the second digit after the point.
_TEXT_BYTES = 2 << 20
# Below this share of the target's vocabulary the regression has few tokens to stand on.
_FEW_ANCHORS = 0.05
# Characters of a changed line that a warning shows.
_SHOWN = 60


@dataclass(frozen=True)
class Inspection:
    """Facts of a pair of models.

    Attributes:
        pair: the two models.
        anchors: the tokens that they share.
        texts: for each text file its name, bytes per token of the source's tokenizer and of the new one, and the share
            of the new one's tokens that are anchors.
        warnings: sentences for the user.
    """

    pair: Pair
    anchors: Anchors
    texts: list[tuple[str, float, float, float]]
    warnings: list[str]


def inspect(
    source: str | Path,
    donor: str | Path,
    *,
    texts: Sequence[Path] = (),
    match: Level = "exact",
    options: PairOptions | None = None,
) -> Inspection:
    """Compares the vocabularies of a source and a donor.

    Of the weights, only a few rows of the source's input table are read, and only where no chat template tells which of
    its special tokens were trained.

    Args:
        source: folder or hub name.
        donor: a model or a tokenizer alone, see `salt_ext.transfer`.
        texts: UTF-8 files in the target language; the first 2 MiB of each are measured.
        match: how wide anchors are matched, see `match_vocabularies`.
        options: what else the user says about the models and the new tokenizer.

    Raises:
        InputError: see `open_pair`; or a text cannot be read.
    """
    contents = {str(file): read_lines(file, max_bytes=_TEXT_BYTES) for file in texts}
    pair = open_pair(source, donor, options)
    anchors = match_pair(pair, level=match)
    measured = [
        (
            name,
            bytes_per_token(pair.source.tokenizer, lines),
            bytes_per_token(pair.target.tokenizer, lines),
            anchor_coverage(pair.target.tokenizer, lines, anchors),
        )
        for name, lines in contents.items()
    ]
    warnings = dict.fromkeys(warnings_of(pair, anchors, texts=contents))
    return Inspection(pair, anchors, measured, list(warnings))


def special_map(pair: Pair, anchors: Anchors) -> list[dict[str, Any]]:
    """The new tokenizer's special tokens and markers, and every token that the user's map names, ascending.

    For each its roles, id, spelling, the source token whose row it gets (None: the mean row, or for an ordinary token
    one that the method makes), whether it was added, and whether the user's map says so.
    """
    source, target = pair.source.vocabulary, pair.target.vocabulary
    partners = dict(zip(anchors.target_ids.tolist(), anchors.source_ids.tolist(), strict=True))
    shown = {*target.special_ids, *target.roles.values(), *pair.target.pairs, *pair.target.mapped}
    names: dict[int, list[str]] = {number: [] for number in sorted(shown)}
    for role, number in target.roles.items():
        names[number].append(role)
    return [
        {
            "roles": sorted(roles),
            "target_id": number,
            "target": target.tokens[number],
            "source_id": partners.get(number),
            "source": source.tokens[partners[number]] if number in partners else None,
            "added": number in pair.target.added,
            "mapped": number in pair.target.mapped,
        }
        for number, roles in names.items()
    ]


def warnings_of(pair: Pair, anchors: Anchors, *, texts: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """What the user should know before relying on the result, one sentence each.

    Args:
        pair: the two models.
        anchors: the tokens that they share.
        texts: lines of text by name; those that the new tokenizer changes are counted.
    """
    target = pair.target.vocabulary
    found = [*pair.source.checkpoint.companions().warnings, *pair.target.warnings]
    lost = lost_features(pair.target.tokenizer)
    if lost:
        kept = f"{', '.join(lost[:-1])} and {lost[-1]}" if len(lost) > 1 else lost[0]
        found.append(f"the new tokenizer ({target.kind}) loses {kept}: the new model can neither read nor write them")
    for name, lines in (texts or {}).items():
        changed = changed_lines(pair.target.tokenizer, lines)
        if changed is not None:
            before, after = _around_change(changed.before, changed.after)
            found.append(
                f"{changed.lines} of {len(lines)} lines of {name} do not come back from the new tokenizer as "
                f"they were: {before!r} comes back as {after!r}"
            )
    if elsewhere := _looked_up_elsewhere(pair, anchors):
        found.append(
            f"the source looks {', '.join(elsewhere)} up in tables of its other parts, which the new ids do not reach: "
            "they get the rows of the text's table"
        )
    plain = int((~np.isin(anchors.kinds, ("special", "mapped"))).sum())
    if plain < _FEW_ANCHORS * target.size:
        share = plain / target.size
        found.append(f"only {plain} of {target.size} target tokens ({share:.1%}) are anchors: the regression is weak")
    return found


def _looked_up_elsewhere(pair: Pair, anchors: Anchors) -> list[str]:
    """Spellings of the shared tokens whose source ids lie in the block that the model reserves, see `reserved_rows`."""
    checkpoint, tokens = pair.source.checkpoint, pair.source.vocabulary.tokens
    reserved = reserved_rows(checkpoint.config)
    return [repr(tokens[number]) for number in anchors.source_ids.tolist() if number >= checkpoint.rows - reserved]


def print_inspection(found: Inspection, console: Console) -> None:
    """Prints the special tokens first, since a wrong pair there is the costliest mistake."""
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


def _around_change(before: str, after: str) -> tuple[str, str]:
    """Both texts from a little before their first difference."""
    same = next((n for n, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), len(after))
    begin = max(0, same - _SHOWN // 4)
    return before[begin : begin + _SHOWN], after[begin : begin + _SHOWN]
