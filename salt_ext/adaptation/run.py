"""adapt_model(): a model folder and texts to a trained folder, in phases, and on behind whatever cut it off."""

from __future__ import annotations

import gc
import platform
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from salt_ext.adaptation.arguments import base_arguments, batches, read_config
from salt_ext.adaptation.documents import local_paths
from salt_ext.adaptation.needs import require
from salt_ext.adaptation.options import AdaptOptions
from salt_ext.adaptation.phases import ROWS
from salt_ext.checkpoint.destination import check_output, require_replaceable
from salt_ext.checkpoint.staging import staged_folder
from salt_ext.errors import InputError
from salt_ext.runtime.machine import cpu_threads
from salt_ext.runtime.progress import Clock, Watching, watched, without_progress_bars

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from salt_ext.adaptation.corpus import Corpus
    from salt_ext.adaptation.curve import Curve
    from salt_ext.adaptation.model import Subject
    from salt_ext.adaptation.workspace import Workspace

_PACKAGES = ("salt-ext", "torch", "transformers", "accelerate", "datasets", "tokenizers")


@dataclass(frozen=True)
class AdaptationResult:
    """What a training made.

    Attributes:
        output: the trained model's folder.
        report: options, texts, phases and figures; also in the folder, as salt_adaptation.json.
        curve: the lines of salt_curve.jsonl, see `salt_ext.adaptation.curve`.
    """

    output: Path
    report: dict[str, Any]
    curve: list[dict[str, Any]]


def adapt_model(
    model: str | Path,
    text: Sequence[str | Path],
    output: str | Path,
    options: AdaptOptions | None = None,
    *,
    force: bool = False,
    progress: Watching = None,
    log: Callable[[str], None] | None = None,
    **changes: Any,
) -> AdaptationResult:
    """Trains a moved model on text of its new language (Lee et al. 2025, section 3, step 5).

    By default the vocabulary's tables learn first and alone, then all weights; each phase has a linear warm-up over a
    tenth of its steps, a cosine to zero, and an AdamW of its own. transformers' Trainer and accelerate train, in
    float32 with products in bfloat16 where the machine has it; under `accelerate launch` they do so with several
    processes. Bits per byte of held-out text (`salt_ext.evaluation.text`) are measured before, on the way and behind.

    Checkpoints and the curve lie in OUTPUT.unfinished until the output is there; where that folder is found, with the
    same inputs, the training goes on behind the last complete checkpoint: with one process to the same figures, bit
    for bit.

    Args:
        model: folder or hub name of a causal language model, such as `salt_ext.transfer` makes.
        text: what is trained on, see `AdaptOptions` for what a text can be.
        output: the folder to make; it appears complete or not at all.
        options: how; None for every default.
        force: replace an existing output.
        progress: a function that is called with every step: (step, units done, units in all or 0); False for silence,
            True for bars, None for bars in a notebook and on a terminal only.
        log: called with a sentence for every measurement.
        changes: options by name, in place of those in `options`: `adapt_model(model, text, output, tokens=10**7)`.

    Returns:
        The folder, the report and the curve.

    Raises:
        InputError: something that was given cannot be used, a package is missing, or the training came to figures that
            are not finite.
        OutputError: the output exists or cannot be written, or a checkpoint cannot; what was complete is kept.
        TypeError: there is no option of that name.
    """
    options = AdaptOptions(**changes) if options is None else replace(options, **changes)
    if isinstance(text, str | Path) or not text:
        raise InputError(f"text is {text!r:.80}, expected a list of at least one text")
    require("accelerate", "datasets", what="adapt")
    if options.lora is not None or any(phase.trains == ROWS for phase in options.all_phases):
        require("peft", what="what is given (lora, or the phase rows)")
    if options.tensorboard is not None:
        require("tensorboard", what="tensorboard")
    config = _config(options)
    with cpu_threads(options.threads), _own_random_numbers(), without_progress_bars():
        run = Run.open(model, text, output, options, config, force=force)
        with watched(progress if run.is_main else False, rate="tokens") as callback:
            return run.do(Clock(callback), log or (lambda sentence: None))


@dataclass
class Run:
    """One training, opened: all that can be checked before a text is read has been."""

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
        from salt_ext.adaptation.model import Subject
        from salt_ext.adaptation.workspace import Workspace

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
        run = cls(subject, text, place, options, config, args, context, batch, force)
        for phase in options.all_phases:
            if phase.tokens < run.tokens_per_step:
                raise InputError(
                    f"phase {phase.trains} has {phase.tokens} tokens, fewer than one step of {run.tokens_per_step} "
                    f"(tokens_per_step)"
                )
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

    def do(self, clock: Clock, log: Callable[[str], None]) -> AdaptationResult:
        """Reads the texts, trains phase by phase, and writes the output."""
        from salt_ext.adaptation.training import train_phase
        from salt_ext.adaptation.windows import phase_windows
        from salt_ext.adaptation.workspace import Workspace

        with clock.step("read the texts"), self.args.main_process_first(local=False):
            corpus, source = self._texts()
            inputs = self._inputs(corpus, source)
            work = Workspace.open(self.output, inputs)
        windows = phase_windows(self, corpus, source)
        if work.found and self.is_main:
            log(f"going on with the training in {work.folder}")
        held_out = {"": corpus.held_out} | ({} if source is None else {"source_": source.held_out})
        with clock.step("train"):
            for number, data in enumerate(windows, 1):
                if not work.result(number).is_dir():
                    train_phase(self, number, work, data, held_out, advance=clock.advance, log=log)
                    gc.collect()
        curve = work.curve()
        report = self._report(corpus, source, inputs, curve)
        if self.is_main:
            with clock.step("write the output"):
                self._write(work, corpus, curve, report)
        self._wait()
        return AdaptationResult(self.output, report, curve.lines)

    def _texts(self) -> tuple[Corpus, Corpus | None]:
        """The text in the new language, and that in the source's where one is given."""
        import datasets

        from salt_ext.adaptation.corpus import read_corpus

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
        # Without replay nothing of it is trained on, so that all of an evaluation text can be measured.
        source = read(
            options.source_text or options.source_eval_text,
            options.source_eval_text if options.source_text else (),
            "source_text",
            needed if options.replay else 0,
        )
        return corpus, source

    def _inputs(self, corpus: Corpus, source: Corpus | None) -> dict[str, Any]:
        """All that the result depends on; the model's files by name, size and time."""
        given = self.options.as_json()
        for name in ("threads", "tensorboard", "cache", "eval_text", "source_text", "source_eval_text", "config"):
            del given[name]
        files = sorted(file for file in self.subject.checkpoint.folder.iterdir() if file.is_file())
        return {
            "model": [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files],
            "text": [corpus.key, None if source is None else source.key],
            "options": given,
            "config": {name: str(value) for name, value in self.config.items()},
            "tokens_per_step": self.tokens_per_step,
            "context": self.context,
            "bf16": self.args.bf16,
            "versions": {name: version(name) for name in _PACKAGES},
        }

    def _report(self, corpus: Corpus, source: Corpus | None, inputs: Mapping[str, Any], curve: Curve) -> dict[str, Any]:
        measured = curve.measured()
        figures = ("bits_per_byte", "eval_loss", "source_bits_per_byte", "source_eval_loss")
        first, last = ({name: line[name] for name in figures if name in line} for line in (measured[0], measured[-1]))
        phases = [
            asdict(phase)
            | {"steps": self.steps(number), "tokens_read": self.steps(number) * self.tokens_per_step}
            | {"lr": phase.lr or self.args.learning_rate}
            for number, phase in enumerate(self.options.all_phases, 1)
        ]
        return {
            "made_by": "salt-ext",
            "model": str(self.subject.checkpoint.folder),
            "phases": phases,
            "before": first,
            "after": last,
            "tokens": curve.lines[-1]["tokens"],
            "seconds_of_updates": curve.seconds,
            "text": corpus.facts,
            "source_text": None if source is None else source.facts,
            "tokens_per_step": self.tokens_per_step,
            "context": self.context,
            "processes": self.args.world_size,
            "device": str(self.args.device),
            "inputs": {name: inputs[name] for name in ("options", "config", "versions")},
            "python": platform.python_version(),
        }

    def _write(self, work: Workspace, corpus: Corpus, curve: Curve, report: dict[str, Any]) -> None:
        from salt_ext.adaptation.output import card_of, check_saved, write_adapter, write_facts, write_model

        last = len(self.options.all_phases)
        with staged_folder(self.output, force=self.force, check=require_replaceable) as folder:
            if self.options.adapters:
                write_adapter(self.subject, work.adapter(last), folder)
            else:
                report["bits_per_byte_saved"] = write_model(
                    self.subject,
                    work.result(last),
                    folder,
                    dtype=self.options.torch_dtype or self.subject.dtype,
                    held_out=corpus.held_out,
                    context=self.context,
                )
                check_saved(report["bits_per_byte_saved"], report["after"]["bits_per_byte"])
            write_facts(folder, report, curve, card=card_of(self.subject, report))
        work.remove()

    def _wait(self) -> None:
        if self.args.world_size > 1:
            torch.distributed.barrier()


def _config(options: AdaptOptions) -> dict[str, Any]:
    """What the user said in transformers' names, with ours of them in their place."""
    config = read_config(options.config)
    for own, name, value in (("lr", "learning_rate", options.lr), ("seed", "seed", options.seed)):
        if value is not None and name in config:
            raise InputError(f"{own} is {value}, and config has {name}: expected one of them")
        if value is not None:
            config[name] = value
    return config


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    """A trainer seeds all generators; whoever calls gets his own back."""
    before = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
