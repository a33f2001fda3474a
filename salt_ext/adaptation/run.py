"""One training, from its parts to the output: texts, phases, and the folder."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import torch

from salt_ext.adaptation.arguments import base_arguments, batches, phase_arguments, shards
from salt_ext.adaptation.corpus import Corpus, read_corpus
from salt_ext.adaptation.curve import Curve
from salt_ext.adaptation.documents import local_paths
from salt_ext.adaptation.model import Subject, uses_peft
from salt_ext.adaptation.options import AdaptOptions
from salt_ext.adaptation.output import card_of, check_saved, write_adapter, write_facts, write_model
from salt_ext.adaptation.phases import ROWS
from salt_ext.adaptation.report import build_report, inputs_of
from salt_ext.adaptation.training import train_phase
from salt_ext.adaptation.windows import phase_windows
from salt_ext.adaptation.workspace import Workspace
from salt_ext.checkpoint.destination import check_output, require_replaceable
from salt_ext.checkpoint.hub import hub_name
from salt_ext.checkpoint.staging import staged_folder
from salt_ext.errors import InputError
from salt_ext.runtime.progress import Clock

if TYPE_CHECKING:
    from transformers import TrainingArguments


@dataclass
class Run:
    """One training, opened: all that can be checked before a text is read has been."""

    name: str
    subject: Subject
    text: Sequence[str | Path]
    output: Path
    options: AdaptOptions
    config: dict[str, Any]
    args: TrainingArguments
    context: int
    batch: tuple[int, int]
    force: bool

    @classmethod
    def open(
        cls,
        model: str | Path,
        text: Sequence[str | Path],
        output: str | Path,
        options: AdaptOptions,
        config: dict[str, Any],
        *,
        force: bool,
    ) -> Run:
        """Opens the model, joins the processes, and checks the output.

        Raises:
            InputError, OutputError: see `adapt_model`.
        """
        subject = Subject.open(model, trust_remote_code=options.trust_remote_code)
        if any(phase.trains == ROWS for phase in options.all_phases):
            subject.require_new_rows()
        context = subject.context(options.context)
        texts = local_paths([*text, *options.eval_text, *options.source_text, *options.source_eval_text])
        place = check_output(Path(output), inputs=[subject.checkpoint.folder, *texts], force=force)
        args = base_arguments(Workspace.place(place), config)
        batch = batches(
            args, config, context=context, tokens_per_step=options.tokens_per_step, vocabulary=subject.outputs
        )
        name = hub_name(model) or str(subject.checkpoint.folder)
        run = cls(name, subject, text, place, options, config, args, context, batch, force)
        for number, phase in enumerate(options.all_phases, 1):
            if phase.tokens < run.tokens_per_step:
                raise InputError(
                    f"phase {phase.trains} has {phase.tokens} tokens, fewer than one step of {run.tokens_per_step} "
                    f"(tokens_per_step)"
                )
            if shards(args) and uses_peft(phase, options.lora):
                raise InputError(
                    f"phase {phase.trains} trains by peft, which FSDP cannot shard here: expected neither "
                    "lora nor rows, or several processes without FSDP"
                )
            run.phase_arguments(number)
        return run

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints."""
        return bool(self.args.process_index == 0)

    @property
    def tokens_per_step(self) -> int:
        """Of all processes together."""
        return self.windows_per_step * self.context

    @property
    def windows_per_step(self) -> int:
        """Of all processes together."""
        return int(self.args.world_size * max(1, self.args.n_gpu) * self.batch[0] * self.batch[1])

    def steps(self, number: int) -> int:
        """Updates of a phase, from 1."""
        return self.options.all_phases[number - 1].tokens // self.tokens_per_step

    def phase_arguments(self, number: int, **decided: Any) -> TrainingArguments:
        """The trainer's arguments in a phase, from 1; `decided` is what is known of it besides.

        Raises:
            InputError: see `salt_ext.adaptation.arguments.phase_arguments`.
        """
        return phase_arguments(
            self.args,
            Workspace.place(self.output) / f"phase-{number}",
            self.config,
            steps=self.steps(number),
            learning_rate=self.options.all_phases[number - 1].lr or self.args.learning_rate,
            per_device_train_batch_size=self.batch[0],
            gradient_accumulation_steps=self.batch[1],
            data_seed=self.args.seed + number,
            **decided,
        )

    def do(self, clock: Clock, log: Callable[[str], None]) -> tuple[dict[str, Any], Curve]:
        """Reads the texts, trains phase by phase, and writes the output."""
        with clock.step("read the texts"), self.args.main_process_first(local=False):
            corpus, source = self._texts()
            inputs = inputs_of(self, corpus, source)
            windows = phase_windows(self, corpus, source)
            work = Workspace.open(self.output, inputs)
        if work.found and self.is_main:
            log(f"going on with the training in {work.folder}")
        held_out = {"": corpus.held_out} | ({} if source is None else {"source_": source.held_out})
        with clock.step("train"):
            for number, data in enumerate(windows, 1):
                if not work.result(number).is_dir():
                    train_phase(self, number, work, data, held_out, advance=clock.advance, log=log)
                    gc.collect()
        curve = work.curve()
        report = build_report(self, corpus, source, inputs, curve)
        self._wait()  # all have read what the main process removes
        if self.is_main:
            with clock.step("write the output"):
                self._write(work, corpus, curve, report)
        self._wait()
        return report, curve

    def _texts(self) -> tuple[Corpus, Corpus | None]:
        """The text in the new language, and that in the source's where one is given."""
        datasets.disable_progress_bars()
        options = self.options
        cache = Path(options.cache or Path(datasets.config.HF_DATASETS_CACHE) / "salt-ext")
        needed = sum(self.steps(n) for n in range(1, len(options.all_phases) + 1)) * self.windows_per_step

        def read(text: Sequence[str | Path], eval_text: Sequence[str | Path], what: str, windows: int) -> Corpus:
            return read_corpus(
                text,
                eval_text,
                self.subject.tokenizer,
                what=what,
                windows=windows,
                context=self.context,
                eval_bytes=options.eval_bytes,
                drop_overlap=options.drop_overlap,
                cache=cache,
            )

        corpus = read(self.text, options.eval_text, "text", needed)
        if not options.source_text and not options.source_eval_text:
            return corpus, None
        replayed = needed if options.replay else 0
        return corpus, read(options.source_text, options.source_eval_text, "source_text", replayed)

    def _write(self, work: Workspace, corpus: Corpus, curve: Curve, report: dict[str, Any]) -> None:
        last = len(self.options.all_phases)
        with staged_folder(self.output, force=self.force, check=require_replaceable) as folder:
            if self.options.adapters:
                write_adapter(self.subject, work.adapter(last), folder, name=self.name)
            else:
                report["bits_per_byte_saved"] = write_model(
                    self.subject,
                    work.result(last),
                    folder,
                    dtype=self.options.torch_dtype or self.subject.dtype,
                    held_out=corpus.held_out,
                    context=self.context,
                    device=self.args.device,
                )
                check_saved(report["bits_per_byte_saved"], report["after"]["bits_per_byte"])
            write_facts(folder, report, curve, card=card_of(self.subject, report))
        work.remove()

    def _wait(self) -> None:
        if self.args.world_size > 1:
            torch.distributed.barrier()
