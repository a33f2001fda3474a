"""The job of `salt-ext align`: an alignment table of two tokenizers from whatever says what translates what."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from salt_ext.alignment import (
    MIN_COUNT,
    AlignmentTable,
    UnitText,
    WordCounts,
    fit_ibm1,
    read_dictionary,
    read_parallel,
    read_pharaoh,
    read_probabilities,
    read_units,
    token_counts,
    write_table,
    write_units,
)
from salt_ext.alignment.corpus import LONGEST_LINE
from salt_ext.alignment.direction import looks_swapped
from salt_ext.alignment.lexicon import Side, lexicon_counts
from salt_ext.alignment.units import Unit
from salt_ext.errors import InputError, OutputError
from salt_ext.files.json_text import json_text
from salt_ext.files.output_file import check_output_file, write_anew
from salt_ext.files.paths import is_stream
from salt_ext.methods.alignment_rows import trans_tokenization
from salt_ext.runtime.machine import peak_memory
from salt_ext.runtime.progress import Clock, Watching, watched
from salt_ext.tokenizer import build_target
from salt_ext.vocab import Vocabulary, encode_lines, load_tokenizer, match_vocabularies

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, kw_only=True)
class AlignOptions:
    """Where translations come from, and what else the user says.

    Attributes:
        pharaoh: alignments of the texts' units that another program made; None for the built-in IBM Model 1.
        probabilities: a probability table of fast_align, in place of the texts.
        dictionary: a bilingual dictionary, in place of the texts.
        unit: what is aligned, words or single tokens.
        min_count: pairs of words that translate each other less often are dropped; a dictionary's never are.
        units_file: where to write the texts' units for another program to align.
        report_file: where `write_report` is to write afterwards; it is checked with the other files.
        trust_remote_code: whether Python code that comes with the tokenizers may run.
    """

    pharaoh: Path | None = None
    probabilities: Path | None = None
    dictionary: Path | None = None
    unit: Unit = "word"
    min_count: int = MIN_COUNT
    units_file: Path | None = None
    report_file: Path | None = None
    trust_remote_code: bool = False


@dataclass(frozen=True)
class AlignReport:
    """What was found.

    Attributes:
        source: the source's tokenizer, as it was given.
        target: the target's.
        lines: pairs of lines with words on both sides; None where there was no text.
        warnings: sentences for the user.
        pairs: pairs of tokens in the table.
        tokens: of the target's tokenizer, by where trans-tokenization would take their rows from: "copied" (special
            tokens), "mapped", "identical", "smoothed", "unknown".
        occurrences: the same, of the tokens of the target text; None where there was none.
        seconds: wall time of every step.
        peak_memory: most bytes in memory.
    """

    source: str
    target: str
    lines: int | None
    warnings: tuple[str, ...]
    pairs: int
    tokens: dict[str, int]
    occurrences: dict[str, int] | None
    seconds: dict[str, float]
    peak_memory: int


def align(
    texts: tuple[Path, Path] | None,
    output: Path,
    *,
    source: str,
    target: str,
    options: AlignOptions | None = None,
    force: bool = False,
    progress: Watching = None,
) -> AlignReport:
    """Makes an alignment table.

    Args:
        texts: the source's and the target's text, line by line translations of each other; None with a lexicon.
        output: the table's file.
        source: folder or hub name of the model, or the tokenizer, that is to be moved.
        target: of the one whose tokenizer it gets.
        options: what else the user says.
        force: whether an existing output is replaced.
        progress: who is told of every step, see `salt_ext.transfer`.

    Raises:
        InputError: a tokenizer, a text or an alignment cannot be used, or nothing is aligned.
        OutputError: one of the files to make exists, see `check_output_file`, or cannot be written.
    """
    options = options or AlignOptions()
    _require_one_origin(texts, options)
    _check_outputs(texts, output, source, target, options, force=force)
    with watched(progress) as callback:
        return _align(texts, output, source, target, options, Clock(callback))


def _align(
    texts: tuple[Path, Path] | None, output: Path, source: str, target: str, options: AlignOptions, clock: Clock
) -> AlignReport:
    with clock.step("open the tokenizers"):
        old, new = (_open(name, what, options) for name, what in ((source, "source"), (target, "target")))
        built = build_target(
            old.tokenizer, new.tokenizer, source_vocabulary=old.vocabulary, target_vocabulary=new.vocabulary
        )
        anchors = match_vocabularies(old.vocabulary, built.vocabulary, pairs=built.pairs)
    lines, warnings, text = None, list[str](), np.empty(0, dtype=np.int64)
    if texts is None:
        with clock.step("read the translations"):
            words = _from_lexicon(options, old, new)
    else:
        contents = read_parallel(*texts)
        with clock.step("cut the texts"):
            if looks_swapped((old.tokenizer, new.tokenizer), contents):
                warnings.append(
                    "source text and target text look swapped: each other's tokenizer needs fewer tokens for them; "
                    "expected the source's language first"
                )
            sides = [
                read_units(*side, content, unit=options.unit, progress=clock.advance)
                for side, content in zip((old, new), contents, strict=True)
            ]
            text = encode_lines(new.tokenizer, contents[1])
        if options.units_file is not None:
            write_units(options.units_file, sides[0], sides[1])
        with clock.step("align"):
            words = _from_text(sides[0], sides[1], options, clock)
        full = [np.diff(side.corpus.starts) > 0 for side in sides]
        lines = int((full[0] & full[1]).sum())
        if skipped := sum(side.skipped for side in sides):
            warnings.append(f"{skipped:,} lines of more than {LONGEST_LINE:,} characters were left out")
    with clock.step("count tokens"):
        counts = token_counts(words, min_count=1 if options.dictionary else options.min_count)
        table = AlignmentTable.of(counts, old.vocabulary, new.vocabulary, name="the alignment")
        write_table(output, table, old.vocabulary, new.vocabulary)
    with clock.step("measure the coverage"):
        made = trans_tokenization(table, anchors, old.vocabulary, built.vocabulary)
        occurring = np.bincount(text, minlength=built.vocabulary.size)
        shares = {"copied": int(occurring[made.anchors.target_ids].sum())} | {
            origin: int(occurring[made.combined.target_ids[made.origins == origin]].sum())
            for origin in list(made.coverage())[1:]
        }
    return AlignReport(
        source=source,
        target=target,
        lines=lines,
        warnings=tuple(warnings),
        pairs=len(counts.counts),
        tokens=made.coverage(),
        occurrences=shares if texts is not None else None,
        seconds=clock.seconds,
        peak_memory=peak_memory(),
    )


def write_report(path: Path, found: AlignReport) -> None:
    """Writes the report as JSON.

    Raises:
        OutputError: it cannot be written.
    """
    write_anew(path, json_text(asdict(found)).encode(), what="the report")


def _check_outputs(
    texts: tuple[Path, Path] | None, output: Path, source: str, target: str, options: AlignOptions, *, force: bool
) -> None:
    """Before any work, and for all files alike: none of them takes the place of another, or of what is read."""
    inputs = [*(texts or ()), options.pharaoh, options.probabilities, options.dictionary, source, target]
    files = {"output": output, "write-units": options.units_file, "report": options.report_file}
    read = [Path(path) for path in inputs if path is not None]
    seen: dict[str, str] = {}
    for what, file in files.items():
        if file is None:
            continue
        check_output_file(file, what=what, inputs=read, force=force)
        other = seen.setdefault(os.path.realpath(file), what)
        if other != what and not is_stream(file):
            raise OutputError(f"{what} {file} is {other} as well; expected files of their own")


def _open(name: str, what: str, options: AlignOptions) -> Side:
    try:
        tokenizer = load_tokenizer(name, trust_remote_code=options.trust_remote_code)
        return Side(tokenizer, Vocabulary.from_tokenizer(tokenizer, name=name))
    except InputError as error:
        raise InputError(f"{what}: {error}") from error


def _require_one_origin(texts: tuple[Path, Path] | None, options: AlignOptions) -> None:
    lexicons = [name for name in ("probabilities", "dictionary") if getattr(options, name) is not None]
    if options.min_count < 1:
        raise InputError(f"min_count is {options.min_count}, expected at least 1")
    if texts is None and not lexicons:
        raise InputError("nothing to align: expected a source text and a target text, --probabilities or --dictionary")
    if len(lexicons) > 1 or (lexicons and (texts or options.pharaoh or options.units_file)):
        raise InputError(
            f"--{lexicons[0]} stands alone: expected no text, no alignments and no other lexicon beside it"
        )


def _from_text(source: UnitText, target: UnitText, options: AlignOptions, clock: Clock) -> WordCounts:
    if options.pharaoh is not None:
        return read_pharaoh(options.pharaoh, source, target)
    found = fit_ibm1(source.corpus, target.corpus, progress=clock.advance).likely()
    kept = found.source >= 0
    return WordCounts(source.pieces, target.pieces, found.source[kept], found.target[kept], found.count[kept])


def _from_lexicon(options: AlignOptions, source: Side, target: Side) -> WordCounts:
    if options.dictionary is not None:
        return lexicon_counts(
            read_dictionary(options.dictionary), source, target, what=f"dictionary {options.dictionary}"
        )
    assert options.probabilities is not None
    entries = read_probabilities(options.probabilities)
    return lexicon_counts(entries, source, target, what=f"probability table {options.probabilities}")
