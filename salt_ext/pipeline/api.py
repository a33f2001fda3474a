"""transfer(): the whole job, from two models to the finished folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from salt_ext.checkpoint.destination import require_replaceable
from salt_ext.checkpoint.names import CARD_FILE, PLAN_FILE, REPORT_FILE
from salt_ext.checkpoint.staging import staged_folder
from salt_ext.pipeline.model_card import model_card
from salt_ext.pipeline.options import TransferOptions
from salt_ext.pipeline.report import build_report, write_report
from salt_ext.pipeline.run import Run
from salt_ext.pipeline.summary import html_summary
from salt_ext.plan import TransferPlan
from salt_ext.runtime.machine import cpu_threads
from salt_ext.runtime.progress import Clock, Watching, watched


@dataclass(frozen=True, repr=False)
class TransferResult:
    """What a transfer made.

    Attributes:
        output: the new model's folder.
        plan: how each of its rows was made; also in the folder, as salt_plan.safetensors.
        report: inputs, options, counts, norms and times; also in the folder, as salt_report.json.
    """

    output: Path
    plan: TransferPlan
    report: dict[str, Any]

    def __repr__(self) -> str:
        return f"TransferResult(output={str(self.output)!r}, method={self.report['method']['name']!r}, {self.plan!r})"

    def _repr_html_(self) -> str:
        return html_summary(self.report, self.output)


def transfer(
    source: str | Path,
    donor: str | Path,
    output: str | Path,
    options: TransferOptions | None = None,
    *,
    force: bool = False,
    progress: Watching = None,
    **changes: Any,
) -> TransferResult:
    """Gives a language model the tokenizer of another model, every embedding row computed, by SALT (Lee et al. 2025) or
    what measured better.

    Every tensor of the source that the vocabulary indexes goes through one plan: anchors are copied, new tokens made of
    source rows by a method. All other weights are copied. The new tokenizer keeps the source's special tokens, its
    template around a text and its chat template. Everything is checked before any work, and the output appears complete
    or not at all.

    Args:
        source: folder or hub name of the language model to move: a decoder or an encoder-decoder.
        donor: a target-language model whose tokenizer and embeddings are used, or a tokenizer alone: folder or hub name
            of either, a tokenizer.json, or a SentencePiece model (.model). Without embeddings, a method that needs them
            takes the vectors of `aux` in their place, and is refused where there are none.
        output: the folder to make.
        options: how; None for every default.
        force: replace an existing output.
        progress: a function that is called with every step: (step, units done, units in all or 0); False for silence,
            True for bars, None for bars in a notebook and on a terminal only.
        changes: options by name, in place of those in `options`: `transfer(source, donor, output, method="salt")`.

    Returns:
        The folder, the plan and the report.

    Raises:
        InputError: something that was given cannot be used; the output is untouched.
        OutputError: the output exists, or cannot be written; nothing is left behind.
        TypeError: there is no option of that name, or `options` is something else.
    """
    if not isinstance(options, TransferOptions | None):
        kind = type(options).__name__
        raise TypeError(f"options is a {kind}, expected TransferOptions; options of a method are method_options")
    options = TransferOptions(**changes) if options is None else replace(options, **changes)
    with cpu_threads(options.threads), watched(progress) as callback:
        clock = Clock(callback)
        with clock.step("open the models"):
            run = Run.open(source, donor, output, options, clock, force=force)
        with clock.step("match the vocabularies"):
            matched = run.match()
        with clock.step("read the source's tables"):
            before = run.tables.source.examine()
        method, decision = run.choose_method(matched)
        made = run.make(method, decision, matched)
        with (
            clock.step("write the output"),
            staged_folder(run.output, force=force, check=require_replaceable) as folder,
        ):
            run.write_model(folder, matched, made.plan)
            made.plan.save(folder / PLAN_FILE)
            with clock.step("check the output"):
                checked = run.check(folder, matched.anchors, made.plan)
            warnings = run.warnings(matched, made, before, checked.norms)
            report = build_report(run, matched.anchors, made, before, checked, folder=folder, warnings=warnings)
            write_report(report, folder / REPORT_FILE)
            card = model_card(run.pair, (source, donor), options, report)
            (folder / CARD_FILE).write_text(card, encoding="utf-8")
    return TransferResult(run.output, made.plan, report)
