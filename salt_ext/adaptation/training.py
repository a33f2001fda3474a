"""One phase: the model behind the one before it, what learns in it, and its result on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from transformers import TrainerCallback, set_seed

from salt_ext.adaptation.arguments import shards
from salt_ext.adaptation.checkpoints import last_complete, remove_old, step_of
from salt_ext.adaptation.model import merged, prepare, uses_peft
from salt_ext.adaptation.trainer import PhaseTrainer, Place, Recorder
from salt_ext.errors import InputError, OutputError, brief
from salt_ext.evaluation.opening import open_causal
from salt_ext.evaluation.token_stream import TokenStream

if TYPE_CHECKING:
    from salt_ext.adaptation.run import Run
    from salt_ext.adaptation.workspace import Workspace


def train_phase(
    run: Run,
    number: int,
    work: Workspace,
    data: Any,
    held_out: Mapping[str, TokenStream],
    *,
    advance: Callable[[int, int], None],
    log: Callable[[str], None],
) -> None:
    """Trains a phase, behind its last complete checkpoint where there is one, and writes its result.

    Args:
        run: the whole training.
        number: of the phase, from 1.
        work: where it lies.
        data: its windows, with `input_ids`.
        held_out: what is measured, by the prefix of its figures.
        advance: called with (tokens read, tokens in all).
        log: called with a sentence for every measurement.

    Raises:
        InputError: figures came that are not finite.
        OutputError: a checkpoint or the result cannot be written.
    """
    options, phase = run.options, run.options.all_phases[number - 1]
    folder, trust = work.phase(number), options.trust_remote_code
    start = run.subject.checkpoint.folder if number == 1 else work.result(number - 1)
    curve = work.curve()
    with run.args.main_process_first(local=False):
        behind = last_complete(folder)
        if run.is_main:
            remove_old(folder, keep=run.config.get("save_total_limit") or 1)
            if behind is None:
                curve.keep(number - 1, run.steps(number - 1) if number > 1 else 0)
            else:
                curve.keep(number, step_of(behind))
    set_seed(run.args.seed + number)
    model = prepare(open_causal(start, trust=trust), phase, rows=run.subject.new_rows, lora=options.lora)
    arguments = run.phase_arguments(number, eval_on_start=number == 1 and behind is None)
    every = [run.steps(n) * run.tokens_per_step for n in range(1, len(options.all_phases) + 1)]
    place = Place(number, phase.trains, run.steps(number), sum(every[: number - 1]), run.tokens_per_step, sum(every))
    callbacks: list[TrainerCallback] = [Recorder(curve, place, advance=advance, log=log if run.is_main else _silent)]
    if options.tensorboard is not None and run.is_main:
        callbacks.append(_tensorboard(Path(options.tensorboard) / f"{number}-{phase.trains}"))
    trainer = PhaseTrainer(
        held_out=held_out,
        context=run.context,
        keep=run.config.get("save_total_limit") or 1,
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=data,  # never read: `evaluate` measures `held_out`
        callbacks=callbacks,
    )
    if shards(arguments) and not trainer.is_fsdp_enabled:
        raise InputError(f"FSDP is asked for, but accelerate has none for {run.args.device.type}: expected a GPU")
    trainer.train(resume_from_checkpoint=None if behind is None else str(behind))
    _finish(trainer, work, number, start if uses_peft(phase, options.lora) else None, trust=trust)
    trainer.accelerator.free_memory()


def _finish(trainer: PhaseTrainer, work: Workspace, number: int, base: Path | None, *, trust: bool) -> None:
    """Writes what a phase made; its checkpoints are not needed any more.

    Args:
        trainer: behind its training.
        work: of the whole training.
        number: of the phase.
        base: the model that peft's parameters are to be merged into; None where the model itself was trained.
        trust: whether its own code may run.
    """
    state = trainer.accelerator.get_state_dict(trainer.model) if trainer.is_fsdp_enabled else None
    result = work.result(number)
    draft = result.with_name(".model")
    if trainer.args.should_save:
        try:
            shutil.rmtree(draft, ignore_errors=True)
            trained = trainer.accelerator.unwrap_model(trainer.model)
            if base is None:
                trained.save_pretrained(draft, state_dict=state)
            else:
                trained.save_pretrained(work.adapter(number), state_dict=state)
                merged(base, work.adapter(number), trust_remote_code=trust).save_pretrained(draft)
            draft.rename(result)
        except (OSError, RuntimeError, SafetensorError) as error:
            raise OutputError(
                f"the result of phase {number} cannot be written to {work.folder}: {brief(error)}; its last checkpoint "
                f"is kept, and the same command goes on behind it"
            ) from error
        remove_old(work.phase(number), keep=0)
    trainer.accelerator.wait_for_everyone()


def _tensorboard(folder: Path) -> TrainerCallback:
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    return TensorBoardCallback(SummaryWriter(str(folder)))


def _silent(_: str) -> None:
    """Only one process prints."""
