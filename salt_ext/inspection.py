"""What can be known of a transfer before paying for it: from configurations, headers and tokenizers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from salt_ext.errors import InputError
from salt_ext.inputs import Model, Pair, open_pair, special_frame
from salt_ext.methods.assembly import new_ids
from salt_ext.vocab import Anchors, Level, anchor_coverage, bytes_per_token, match_vocabularies

if TYPE_CHECKING:
    from rich.console import Console

# A text is a sample: more of it would change the second digit after the point.
_TEXT_BYTES = 2 << 20
# Below this share of the target's vocabulary the regression has few tokens to stand on.
_FEW_ANCHORS = 0.05


@dataclass(frozen=True)
class Inspection:
    """Facts of a pair of models.

    Attributes:
        pair: the two models.
        anchors: the tokens that they share.
        texts: for each text file its name, bytes per token of source and donor, and the share of the donor's tokens
            that are anchors.
        warnings: sentences for the user.
    """

    pair: Pair
    anchors: Anchors
    texts: list[tuple[str, float, float, float]]
    warnings: list[str]


def inspect(source: str | Path, donor: str | Path, *, texts: Sequence[Path] = (), match: Level = "exact") -> Inspection:
    """Compares the vocabularies of two models; no tensor is read.

    Args:
        source: folder or hub name.
        donor: folder or hub name.
        texts: UTF-8 files in the target language; the first 2 MiB of each are measured.
        match: how wide anchors are matched, see `match_vocabularies`.

    Raises:
        InputError: see `open_pair`; or a text cannot be read.
    """
    contents = {str(file): _lines(file) for file in texts}
    pair = open_pair(source, donor)
    anchors = match_vocabularies(pair.source.vocabulary, pair.donor.vocabulary, level=match)
    measured = [
        (
            name,
            bytes_per_token(pair.source.tokenizer, lines),
            bytes_per_token(pair.donor.tokenizer, lines),
            anchor_coverage(pair.donor.tokenizer, lines, anchors),
        )
        for name, lines in contents.items()
    ]
    return Inspection(pair, anchors, measured, warnings_of(pair, anchors))


def special_map(pair: Pair, anchors: Anchors) -> list[dict[str, Any]]:
    """The target's special tokens: role, spelling, and the source token whose row each gets (None: the mean row)."""
    source, target = pair.source.vocabulary, pair.donor.vocabulary
    partners = dict(zip(anchors.target_ids.tolist(), anchors.source_ids.tolist(), strict=True))
    names: dict[int, list[str]] = {number: [] for number in sorted(target.special_ids)}
    for role, number in target.roles.items():
        names.setdefault(number, []).append(role)
    return [
        {
            "roles": sorted(roles),
            "target_id": number,
            "target": target.tokens[number],
            "source_id": partners.get(number),
            "source": source.tokens[partners[number]] if number in partners else None,
        }
        for number, roles in names.items()
    ]


def warnings_of(pair: Pair, anchors: Anchors) -> list[str]:
    """What the user should know before relying on the result, one sentence each."""
    found = []
    source, target = pair.source.vocabulary, pair.donor.vocabulary
    normalised = _normalised(pair.donor, "\u00c4Az")
    if normalised != "\u00c4Az":
        changes = [
            change
            for change, happened in (
                ("lower-cases", normalised == normalised.lower()),
                ("strips accents", not {"\u00e4", "\u00c4"} & set(normalised)),
            )
            if happened
        ]
        what = " and ".join(changes) or "changes"
        found.append(f"the donor's tokenizer {what} every text: the new model cannot write what is lost")
    sample = "a  b\nc"
    # A space that some tokenizers put before every text is no loss.
    if str(pair.donor.tokenizer.decode(_encode(pair.donor, sample))).removeprefix(" ") != sample:
        found.append("the donor's tokenizer does not keep line breaks or repeated spaces")
    frame, usual = special_frame(pair.donor.tokenizer), special_frame(pair.source.tokenizer)
    if (bool(frame[0]), bool(frame[1])) != (bool(usual[0]), bool(usual[1])):
        found.append(f"the donor's tokenizer frames every text as {_framed(frame)}, the source's as {_framed(usual)}")
    for role in ("bos", "eos"):
        stand_in = {"bos": "cls", "eos": "sep"}[role]
        if role in source.roles and role not in target.roles and stand_in not in target.roles:
            found.append(f"the target has no {role} token, the source has {source.tokens[source.roles[role]]!r}")
    plain = int((anchors.kinds != "special").sum())
    if plain < _FEW_ANCHORS * target.size:
        share = plain / target.size
        found.append(f"only {plain} of {target.size} target tokens ({share:.1%}) are anchors: the regression is weak")
    return found


def print_inspection(found: Inspection, console: Console) -> None:
    """Prints the special tokens first, since a wrong pair there is the costliest mistake."""
    pair, anchors = found.pair, found.anchors
    special = Table("role", "target id", "target token", "source token", title="Special tokens", title_justify="left")
    for entry in special_map(pair, anchors):
        partner = "none: mean row" if entry["source"] is None else repr(entry["source"])
        special.add_row(", ".join(entry["roles"]), str(entry["target_id"]), repr(entry["target"]), partner)
    console.print(special)

    models = Table("", "source", "donor", title="Models", title_justify="left")
    for (label, old), (_, new) in zip(_describe(pair.source), _describe(pair.donor), strict=True):
        models.add_row(label, old, new)
    console.print(models)

    target = pair.donor.vocabulary
    tokens = sum(token is not None for token in target.tokens)
    counts = Table("target tokens", "count", "share", title="What becomes of them", title_justify="left")
    rows = {f"anchors, {kind}": count for kind, count in anchors.counts().items()}
    rows["new tokens"] = len(new_ids(anchors, target))
    rows["new special tokens"] = tokens - sum(rows.values())
    for label, count in rows.items():
        counts.add_row(label, f"{count:,}", f"{count / tokens:.1%}")
    console.print(counts)
    several = ", ".join(f"{kind} {count}" for kind, count in anchors.collisions.items())
    console.print(f"forms that several ids share: {several}")

    if found.texts:
        texts = Table("text", "source", "donor", "covered by anchors", title="Bytes per token", title_justify="left")
        texts.columns[0].overflow = "fold"
        for name, before, after, covered in found.texts:
            texts.add_row(name, f"{before:.3f}", f"{after:.3f}", f"{covered:.1%}")
        console.print(texts)
    for warning in found.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False)


def _describe(model: Model) -> list[tuple[str, str]]:
    checkpoint, vocabulary = model.checkpoint, model.vocabulary
    architecture = ", ".join(checkpoint.config.get("architectures") or [checkpoint.config["model_type"]])
    return [
        ("model", architecture),
        ("tokenizer", vocabulary.kind),
        ("ids", f"{vocabulary.size:,}"),
        ("rows of the table", f"{checkpoint.rows:,}"),
    ]


def _lines(file: Path) -> list[str]:
    try:
        with file.open("rb") as stream:
            data = stream.read(_TEXT_BYTES)
    except OSError as error:
        raise InputError(f"text {file} cannot be read: {error.strerror}") from error
    if len(data) == _TEXT_BYTES:
        data = data[: data.rfind(b"\n") + 1 or None]
    try:
        lines = data.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"text {file} is not UTF-8: byte {error.start} cannot be decoded") from None
    if not any(line.strip() for line in lines):
        raise InputError(f"text {file} holds no text")
    return lines


def _encode(model: Model, text: str) -> list[int]:
    return list(np.asarray(model.tokenizer(text, add_special_tokens=False)["input_ids"]).tolist())


def _normalised(model: Model, text: str) -> str:
    normalizer = getattr(getattr(model.tokenizer, "backend_tokenizer", None), "normalizer", None)
    changed = text if normalizer is None else str(normalizer.normalize_str(text))
    # SentencePiece's normalizers write spaces their own way and may put one first.
    return changed.strip(" \u2581")


def _framed(frame: tuple[list[str], list[str]]) -> str:
    return " ".join([*frame[0], "text", *frame[1]])
