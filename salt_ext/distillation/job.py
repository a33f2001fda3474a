"""distill(): from a moved model and its source to a model whose new rows have learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from salt_ext.checkpoint import check_write, write_configs, write_tokenizer, write_weights
from salt_ext.checkpoint.destination import require_replaceable
from salt_ext.checkpoint.names import CARD_FILE, PLAN_FILE, REPORT_FILE
from salt_ext.checkpoint.staging import staged_folder
from salt_ext.distillation.learned_rows import LearnedRows
from salt_ext.distillation.models import Models
from salt_ext.distillation.opening import Learner, open_learner
from salt_ext.distillation.options import DistillOptions
from salt_ext.distillation.paired_text import Window, paired_windows
from salt_ext.distillation.record import card_of, cost_sentence, report_of
from salt_ext.distillation.training import Lesson, drawn_batches, tokens_of
from salt_ext.errors import InputError
from salt_ext.evaluation.documents import read_documents
from salt_ext.evaluation.measuring import measure_stream
from salt_ext.evaluation.opening import causal_config, context_of
from salt_ext.evaluation.token_stream import TokenStream, token_stream
from salt_ext.files.json_text import json_text
from salt_ext.files.output_file import write_anew
from salt_ext.pair.source_tables import SourceTables
from salt_ext.plan import DensePart, TransferPlan
from salt_ext.runtime.machine import cpu_threads
from salt_ext.runtime.progress import Clock, Watching, watched
from salt_ext.verification.folder import verify_output

# A token of most texts is shorter.
_BYTES_PER_TOKEN = 8


@dataclass(frozen=True)
class DistillResult:
    """What a distillation made.

    Attributes:
        output: the new model's folder.
        plan: the student's, with its dense part; also in the folder, as salt_plan.safetensors.
        report: the student's, with a part "distillation"; also in the folder, as salt_report.json.
    """

    output: Path
    plan: TransferPlan
    report: dict[str, Any]


class Text(NamedTuple):
    """What is learned from and measured on.

    Attributes:
        batches: windows for both models, of each step.
        held_out: of the student's tokenizer.
    """

    batches: list[list[Window]]
    held_out: TokenStream


def distill(
    model: str | Path,
    output: str | Path,
    *,
    teacher: str | Path,
    options: DistillOptions | None = None,
    force: bool = False,
    trust_remote_code: bool = False,
    progress: Watching = None,
    announce: Callable[[str], None] | None = None,
    **changes: Any,
) -> DistillResult:
    """Lets the rows of new tokens learn from a text and from the source itself; all else is frozen.

    By default the next token teaches; as options the source's own probabilities (Approximate Likelihood Matching, arXiv
    2503.20083) and hidden states (Token Distillation, arXiv 2505.20133), see `salt_ext.distillation.losses`. Rows of
    anchors stay bit for bit. New tokens that the text does not hold get what is learned of all new rows alike, see
    `salt_ext.distillation.learned_rows`, and the report lists them.

    Args:
        model: a folder that `salt-ext transfer` made, not trained since.
        output: the folder to make.
        teacher: the source that it was moved from: folder or hub name.
        options: how; None for every default (a text is needed).
        force: replace an existing output.
        trust_remote_code: run Python code that comes with a model.
        progress: as for `salt_ext.transfer`.
        announce: called with one sentence, what the training will cost, before it begins.
        changes: options by name, in place of those in `options`.

    Raises:
        InputError: something that was given cannot be used, or a loss is not finite; the output is untouched.
        OutputError: the output exists, or cannot be written; nothing is left behind.
    """
    options = DistillOptions(**changes) if options is None else replace(options, **changes)
    with cpu_threads(options.threads), watched(progress) as callback:
        clock = Clock(callback)
        with clock.step("open the models"):
            learner = open_learner(model, teacher, trust_remote_code=trust_remote_code)
            inputs = [learner.student.folder, *map(Path, options.text)]
            place = check_write(learner.teacher, Path(output), inputs=inputs, force=force, dtype=learner.dtype)
            layer = _layer(learner, options)
        with clock.step("read the text"):
            text = _read_text(learner, options)
            rows, snippets = _reached(learner.new_rows, text.batches)
        with clock.step("load the models"):
            models = Models(learner, device=options.torch_device)
            others = learner.new_rows[~torch.isin(learner.new_rows, rows)]
            learned = LearnedRows(models.student, rows, others, seed=options.seed)
            outputs = max(learner.teacher.vocabulary_rows, learner.plan.target_rows)
            lesson = Lesson(models, learned, options, layer, outputs)
        with clock.step("measure before"):
            before = measure_stream(models.student, text.held_out, context=options.context)
        with clock.step("learn"):
            if announce is not None:
                announce(cost_sentence(lesson, text.batches))
            steps = lesson.learn(text.batches, progress=lambda step: clock.advance(step.tokens, options.tokens))
        with clock.step("measure after"), learned.in_place():
            after = measure_stream(models.student, text.held_out, context=options.context)
        dense = _taught(learned, snippets)
        plan = replace(learner.plan, dense=dense.on_top_of(learner.plan.dense))
        del models, lesson
        with clock.step("write the output"), staged_folder(place, force=force, check=require_replaceable) as folder:
            _write(learner, plan, folder, clock)
            report = report_of(learner, options, steps, (before, after), dense, layer=layer, seconds=clock.seconds)
            write_anew(folder / REPORT_FILE, json_text(report, strict=True).encode(), what="the report")
            (folder / CARD_FILE).write_text(card_of(learner, report), encoding="utf-8")
    return DistillResult(place, plan, report)


def _layer(learner: Learner, options: DistillOptions) -> int:
    """The layer whose states are compared.

    Raises:
        InputError: the body has fewer, reads fewer tokens at once than it is to, or is no decoder.
    """
    trust = learner.student.options.trust_remote_code
    config = causal_config(learner.student.folder, trust=trust)
    count = int(config.get_text_config().num_hidden_layers)
    longest = context_of(config, options.context)
    if options.context > longest:
        raise InputError(f"context is {options.context}, expected at most {longest}, which the model reads")
    layer = max(1, round(count / 3)) if options.layer is None else options.layer
    if layer > count:
        raise InputError(f"layer is {layer}, expected at most {count}, the layers of the body")
    return layer


def _read_text(learner: Learner, options: DistillOptions) -> Text:
    """The user's text for both models.

    Raises:
        InputError: it is too short.
    """
    found = read_documents(options.text, seed=options.seed, training_bytes=_BYTES_PER_TOKEN * options.tokens)
    if not found.training:
        raise InputError("text has a single document, expected more: some are measured on, the others learned from")
    windows = paired_windows(
        learner.student_tokenizer, learner.teacher_tokenizer, found.training, context=options.context
    )
    tokens = tokens_of(windows)
    if tokens < options.tokens_per_step:
        raise InputError(
            f"text has {tokens} tokens to learn from, expected at least those of one step, {options.tokens_per_step}"
        )
    held_out = token_stream(learner.student_tokenizer, found.held_out)
    return Text(drawn_batches(windows, options), held_out)


def _reached(new: Tensor, batches: Sequence[Sequence[Window]]) -> tuple[Tensor, Tensor]:
    """The new tokens that are read, and in how many windows each.

    Raises:
        InputError: there is none.
    """
    seen = torch.zeros(int(new.max()) + 1 if len(new) else 0, dtype=torch.int64)
    for window in chain.from_iterable(batches):
        tokens = window.student.unique()
        seen[tokens[tokens < len(seen)]] += 1
    rows = new[seen[new] > 0]
    if not len(rows):
        raise InputError(f"text holds none of the {len(new)} new tokens, expected text in the new language")
    return rows, seen[rows]


def _taught(learned: LearnedRows, snippets: Tensor) -> DensePart:
    """What was learned, as a part of a plan."""
    rows, order = learned.rows.sort()
    new = {name: table.rows(order).detach().cpu() for name, table in learned.tables.items()}
    norms = learned.input.before.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)[order].cpu()
    seen = torch.cat([snippets, snippets.new_zeros(len(rows) - len(snippets))])[order.cpu()]
    return DensePart(rows.cpu(), new["input"], new.get("head"), seen, new["input"].norm(dim=1) / norms)


def _write(learner: Learner, plan: TransferPlan, folder: Path, clock: Clock) -> None:
    """The student anew: its tokenizer and configurations, and the source's weights under the plan."""
    student, teacher = learner.student, learner.teacher
    write_tokenizer(learner.student_tokenizer, folder)
    tables = SourceTables(teacher, learner.teacher_tokens).moved(plan, dtype=learner.dtype)
    write_weights(teacher, tables, folder, dtype=learner.dtype, advance=clock.advance)
    write_configs(student.config, student.generation_config, folder)
    plan.save(folder / PLAN_FILE)
    with clock.step("check the output"):
        verify_output(folder, teacher, plan, tokenizer=learner.student_tokenizer, dtype=learner.dtype)
