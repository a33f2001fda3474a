"""The trained model's folder: the model's own files, with the trained weights in the dtype that it had."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from salt_ext.adaptation.curve import Curve, can_draw, draw
from salt_ext.adaptation.model import Subject
from salt_ext.checkpoint.companions import ADAPTER_FILE
from salt_ext.checkpoint.convert import converted_config
from salt_ext.checkpoint.names import (
    ADAPTATION_FILE,
    CARD_FILE,
    CURVE_FILE,
    CURVE_PICTURE,
    PLAN_FILE,
    REPORT_FILE,
    is_tokenizer,
)
from salt_ext.errors import OutputError, brief
from salt_ext.evaluation.measuring import measure_stream
from salt_ext.evaluation.opening import open_causal
from salt_ext.evaluation.token_stream import TokenStream
from salt_ext.files.json_text import json_text, read_json
from salt_ext.runtime.device import free_memory

# What an adapter leaves to the model that it is for.
_OF_A_MODEL = {PLAN_FILE, REPORT_FILE}
_TEMPLATES = "additional_chat_templates"
# Bits per byte that rounding to a narrower dtype may cost; it costs a thousandth.
_MOST_LOST = 0.05
# Of a model's size, what it takes to measure it.
_ROOM = 1.5


def write_model(
    subject: Subject,
    result: Path,
    folder: Path,
    *,
    dtype: torch.dtype,
    held_out: TokenStream,
    context: int,
    device: torch.device,
) -> float:
    """Writes the trained weights, opens them again and measures them.

    Args:
        subject: the model that was trained; its configuration, tokenizer, plan and report are kept as they are.
        result: the trained weights, float32, as transformers saved them.
        folder: an empty one.
        dtype: of the weights.
        held_out: what is measured.
        context: tokens that are read at once.
        device: where it is measured, if a GPU has room for all of it; else on the CPU.

    Returns:
        Bits per byte of what was written.

    Raises:
        OutputError: the disk is full, or the model cannot be opened again.
    """
    checkpoint, trust = subject.checkpoint, subject.checkpoint.options.trust_remote_code
    try:
        model = open_causal(result, dtype=dtype, trust=trust)
        model.save_pretrained(folder)
        # transformers' own would have what a Trainer changed for itself, such as use_cache.
        config = dict(checkpoint.config) if dtype == subject.dtype else converted_config(checkpoint.config, dtype)
        (folder / "config.json").write_text(json_text(config), encoding="utf-8")
        (folder / "generation_config.json").unlink(missing_ok=True)
        _copy_companions(subject, folder)
        del model  # two are never in memory
        again: Any = open_causal(folder, dtype=dtype, trust=trust)
    except (OSError, RuntimeError, ValueError) as error:
        raise OutputError(f"the trained model cannot be written to {folder}: {brief(error)}") from error
    size = sum(parameter.nbytes for parameter in again.parameters())
    if device.type == "cuda" and _ROOM * size < free_memory(device):
        again = again.to(device)
    return measure_stream(again, held_out, context=context).bits_per_byte


def write_adapter(subject: Subject, adapter: Path, folder: Path, *, name: str) -> None:
    """Writes what peft trained, and the tokenizer that it is for.

    Args:
        subject: the model that was trained.
        adapter: as peft wrote it.
        folder: an empty one.
        name: of the model, by which peft finds it.

    Raises:
        OutputError: the disk is full.
    """
    try:
        for file in sorted(adapter.iterdir()):
            shutil.copyfile(file, folder / file.name)
        # It was trained on what earlier phases had made, of which it holds all that is not the model's.
        config = read_json((folder / ADAPTER_FILE).read_bytes()) | {"base_model_name_or_path": name}
        (folder / ADAPTER_FILE).write_text(json_text(config), encoding="utf-8")
        _copy_tokenizer(subject.checkpoint.folder, folder)
    except OSError as error:
        raise OutputError(f"the adapters cannot be written to {folder}: {error.strerror or error}") from error


def write_facts(folder: Path, report: Mapping[str, Any], curve: Curve, *, card: str) -> None:
    """Writes the report, the curve, its picture where matplotlib is installed, and the card.

    Raises:
        OutputError: the disk is full.
    """
    try:
        (folder / ADAPTATION_FILE).write_text(json_text(report, strict=True), encoding="utf-8")
        curve.copy(folder / CURVE_FILE)
        if can_draw():
            draw(curve, folder / CURVE_PICTURE)
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"the report cannot be written to {folder}: {error.strerror or error}") from error


def card_of(subject: Subject, report: Mapping[str, Any]) -> str:
    """README.md: the model's own, and below it what became of it here."""
    own = subject.checkpoint.folder / CARD_FILE
    old = own.read_text(encoding="utf-8", errors="replace").rstrip() + "\n\n" if own.is_file() else ""
    before, after = report["before"]["bits_per_byte"], report["after"]["bits_per_byte"]
    phases = "\n".join(
        f"- phase {number}: {phase['trains']}, {phase['tokens_read']:,} tokens"
        for number, phase in enumerate(report["phases"], 1)
    )
    return (
        f"{old}## Continued training\n\nsalt-ext trained the model on: {before:.3f} bits per byte of held-out text "
        f"before, {after:.3f} after.\n\n{phases}\n\n`{ADAPTATION_FILE}` has options, texts and figures; `{CURVE_FILE}` "
        f"the curve. The rows that were new to the vocabulary are no longer what `{PLAN_FILE}` says: it tells their "
        f"start.\n"
    )


def check_saved(saved: float, last: float) -> None:
    """Compares what was written with what was trained.

    Raises:
        OutputError: they differ by more than rounding.
    """
    if not math.isfinite(saved) or saved > last + _MOST_LOST:
        raise OutputError(f"the written model costs {saved:.4f} bits per byte, the trained one {last:.4f}")


def _copy_companions(subject: Subject, folder: Path) -> None:
    source = subject.checkpoint.folder
    _copy_tokenizer(source, folder)
    kept = [file.name for file in subject.checkpoint.companions().kept]
    for name in [*kept, "generation_config.json", "salt_tokenizer.py", *sorted(_OF_A_MODEL)]:
        if (source / name).is_file() and not (folder / name).exists():
            shutil.copyfile(source / name, folder / name)


def _copy_tokenizer(source: Path, folder: Path) -> None:
    for file in sorted(source.iterdir()):
        if is_tokenizer(file.name) and file.is_file():
            shutil.copyfile(file, folder / file.name)
    if (source / _TEMPLATES).is_dir():
        shutil.copytree(source / _TEMPLATES, folder / _TEMPLATES)
