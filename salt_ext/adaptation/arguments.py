"""transformers' `TrainingArguments` of every phase, from our options and what a user wrote in their own names."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import Field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from salt_ext.adaptation.needs import require
from salt_ext.errors import InputError, brief
from salt_ext.evaluation.precision import fast_dtype
from salt_ext.files.paths import expanded, require_regular

if TYPE_CHECKING:
    from transformers import TrainingArguments

_TOKENS_PER_STEP = 8192
_LR = 3e-4
# Logits of one batch on one device, float32.
_LOGITS_BYTES = 256 << 20
_MOST_WINDOWS = 8
# What is chosen where all phases' arguments are.
_SHARED = ("adam_beta2", "bf16", "ddp_find_unused_parameters", "lr_scheduler_type", "seed", "use_cpu", "weight_decay")
# In a phase, about: lines of the curve, measurements, checkpoints.
_LINES, _MEASUREMENTS, _CHECKPOINTS = 1000, 20, 10
_BUDGET = "training is counted in tokens: use tokens or phases"
_RESUME = "a run that was cut off goes on by itself"
# What is decided elsewhere, and where.
_DECIDED = {
    "max_steps": _BUDGET,
    "num_train_epochs": _BUDGET,
    "output_dir": "checkpoints lie beside the output",
    "resume_from_checkpoint": _RESUME,
    "ignore_data_skip": _RESUME,
    "save_only_model": _RESUME,
    "save_strategy": "say save_steps",
    "eval_strategy": "say eval_steps",
    "logging_strategy": "say logging_steps",
    "report_to": "use tensorboard",
    "disable_tqdm": "use quiet",
    "remove_unused_columns": "there are none",
    "auto_find_batch_size": "every step reads as many tokens as tokens_per_step",
    "dataloader_drop_last": "every step reads as many tokens as tokens_per_step",
    "load_best_model_at_end": "the last weights are the result",
    "push_to_hub": "the output is a folder",
    "do_train": "it always does",
    "do_eval": "it always does",
    "do_predict": "there is nothing to predict",
    "logging_nan_inf_filter": "a loss that is not finite ends the training",
    "eval_on_start": "it always does",
}


def read_config(config: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """What a user says in the names of `TrainingArguments`.

    Args:
        config: a YAML file, or names and values.

    Raises:
        InputError: the file cannot be read, is no YAML, or holds no names; a name does not exist (the message has
            those that are near), or is of what is decided elsewhere.
    """
    where = "config" if isinstance(config, Mapping) else f"config {config}"
    given = config if isinstance(config, Mapping) else _read_yaml(expanded(config), where)
    known = _fields()
    found = {}
    for name, value in given.items():
        if name in _DECIDED:
            raise InputError(f"{where}: {name} is not to be given here: {_DECIDED[name]}")
        if name not in known:
            near = get_close_matches(str(name), [each for each in known if each not in _DECIDED], n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else "expected names of transformers' TrainingArguments"
            raise InputError(f"{where}: there is no {name!s:.80}; {hint}")
        found[name] = _number(known[name], value)
    return found


def training_arguments(folder: Path, given: Mapping[str, Any], **decided: Any) -> TrainingArguments:
    """Arguments as transformers checks them; the first ones made join the processes of a launcher.

    Raises:
        InputError: transformers refuses a value, or lacks a package.
    """
    from transformers import TrainingArguments

    try:
        return TrainingArguments(output_dir=str(folder), **{**given, **decided})
    except (ValueError, TypeError, ImportError, OSError, KeyError) as error:
        raise InputError(f"config: transformers refuses the training's arguments: {brief(error)}") from error


def base_arguments(folder: Path, config: Mapping[str, Any]) -> TrainingArguments:
    """What all phases share: device, processes and numbers, known before any text is read."""
    chosen: dict[str, Any] = {
        "adam_beta2": 0.95,
        "weight_decay": 0.01,
        "lr_scheduler_type": "cosine",
        "seed": 0,
        "learning_rate": _LR,
        "ddp_find_unused_parameters": False,
        **config,
    }
    chosen.setdefault("use_cpu", not torch.accelerator.is_available())
    if not {"bf16", "fp16"} & chosen.keys():
        device = torch.device("cpu") if chosen["use_cpu"] else torch.accelerator.current_accelerator()
        chosen["bf16"] = device is not None and fast_dtype(device) == torch.bfloat16
    return training_arguments(folder, chosen, report_to=[], disable_tqdm=True, save_strategy="no")


def batches(
    args: TrainingArguments, config: Mapping[str, Any], *, context: int, tokens_per_step: int | None, vocabulary: int
) -> tuple[int, int]:
    """Windows on a device at once, and how many such batches make a step.

    Args:
        args: of the training, whose processes are known.
        config: what the user said.
        context: tokens of a window.
        tokens_per_step: of all processes together; None for the default.
        vocabulary: the model's outputs, which decide how much memory a window takes.

    Raises:
        InputError: the step is no whole number of windows for every process, or it is given twice.
    """
    world = args.world_size * max(1, args.n_gpu)
    accumulated, at_once = (config.get(n) for n in ("gradient_accumulation_steps", "per_device_train_batch_size"))
    if accumulated is not None:
        if tokens_per_step is not None:
            raise InputError(
                f"tokens_per_step is {tokens_per_step}, and config has gradient_accumulation_steps: expected one"
            )
        return at_once or args.per_device_train_batch_size, accumulated
    wanted = (tokens_per_step or max(_TOKENS_PER_STEP, world * context)) // context
    windows = wanted // world
    if windows < 1 or (tokens_per_step is not None and wanted % world):
        raise InputError(
            f"tokens_per_step is {tokens_per_step}, expected {context} (context) tokens, or a multiple, for each of "
            f"{world} processes"
        )
    most = min(_MOST_WINDOWS, max(1, _LOGITS_BYTES // (4 * context * vocabulary)))
    chosen = at_once or max(size for size in range(1, most + 1) if windows % size == 0)
    if windows % chosen:
        raise InputError(
            f"per_device_train_batch_size is {chosen}, expected a divisor of the {windows} windows that a step has for "
            f"each process"
        )
    return chosen, windows // chosen


def phase_arguments(
    base: TrainingArguments, folder: Path, config: Mapping[str, Any], *, steps: int, **decided: Any
) -> TrainingArguments:
    """The arguments of one phase: its steps, its schedule, and when to log, measure and save.

    Args:
        base: those of all phases.
        folder: of the phase's checkpoints.
        config: what the user said.
        steps: updates.
        decided: what else is known of the phase by now.

    Raises:
        InputError: checkpoints would fall between two lines of the curve.
    """
    every = config.get("logging_steps") or max(1, steps // _LINES)
    given = {name: getattr(base, name) for name in _SHARED}
    if "warmup_ratio" not in config:
        given["warmup_steps"] = steps // 10  # transformers makes the first of them with a rate of 0
    given |= {**config, "logging_steps": every}
    for name, count in (("save_steps", _CHECKPOINTS), ("eval_steps", _MEASUREMENTS)):
        if name not in config:
            given[name] = every * max(1, math.ceil(steps / count / every))
        elif not float(given[name]).is_integer() or given[name] < 1 or given[name] % every:
            raise InputError(
                f"config: {name} is {given[name]}, expected a multiple of logging_steps, which is {every}: a run that "
                f"goes on behind a checkpoint could not tell the same losses"
            )
    return training_arguments(
        folder,
        given,
        max_steps=steps,
        save_strategy="steps",
        save_total_limit=None,  # old ones go when the new one is known to be whole
        eval_strategy="steps",
        report_to=[],
        disable_tqdm=True,
        logging_nan_inf_filter=False,
        dataloader_drop_last=True,
        remove_unused_columns=False,
        **decided,
    )


def shards(args: TrainingArguments) -> bool:
    """Whether FSDP was asked for, by the launcher or by the user's configuration."""
    return os.environ.get("ACCELERATE_USE_FSDP") == "true" or bool(args.fsdp)


def _fields() -> dict[str, Field[Any]]:
    from transformers import TrainingArguments

    return {each.name: each for each in fields(TrainingArguments) if each.init}


def _read_yaml(file: Path, where: str) -> Mapping[str, Any]:
    require("yaml", what="config")
    import yaml

    require_regular(file, "config")
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{where} cannot be read: {brief(error)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{where} holds {type(content).__name__}, expected lines of NAME: VALUE")
    return content


def _number(known: Field[Any], value: Any) -> Any:
    """YAML takes 3e-4 for a word: where a number is expected it is read as one."""
    if isinstance(value, str) and "float" in str(known.type):
        try:
            return float(value)
        except ValueError:
            return value
    return value
