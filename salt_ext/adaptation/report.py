"""What a training depends on, and what came of it, in numbers."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from salt_ext.adaptation.corpus import Corpus
from salt_ext.adaptation.curve import Curve

if TYPE_CHECKING:
    from salt_ext.adaptation.run import Run

_PACKAGES = ("salt-ext", "torch", "transformers", "accelerate", "datasets", "tokenizers")
_FIGURES = ("bits_per_byte", "eval_loss", "source_bits_per_byte", "source_eval_loss")


def inputs_of(run: Run, corpus: Corpus, source: Corpus | None) -> dict[str, Any]:
    """All that the result depends on; the model's files by name, size and time."""
    given = run.options.as_json()
    for name in ("threads", "tensorboard", "cache", "eval_text", "source_text", "source_eval_text", "config"):
        del given[name]
    files = sorted(file for file in run.subject.checkpoint.folder.iterdir() if file.is_file())
    return {
        "model": [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files],
        "text": [corpus.key, None if source is None else source.key],
        "options": given,
        "config": {name: str(value) for name, value in run.config.items()},
        "tokens_per_step": run.tokens_per_step,
        "context": run.context,
        "bf16": run.args.bf16,
        "versions": {name: version(name) for name in _PACKAGES},
    }


def build_report(
    run: Run, corpus: Corpus, source: Corpus | None, inputs: Mapping[str, Any], curve: Curve
) -> dict[str, Any]:
    """Everything that salt_adaptation.json holds but the figure of the written model.

    Args:
        run: the training.
        corpus: the text in the new language.
        source: the text in the source's.
        inputs: what `inputs_of` has.
        curve: of the whole training.
    """
    measured = curve.measured()
    first, last = ({name: line[name] for name in _FIGURES if name in line} for line in (measured[0], measured[-1]))
    phases = [
        asdict(phase)
        | {"steps": run.steps(number), "tokens_read": run.steps(number) * run.tokens_per_step}
        | {"lr": phase.lr or run.args.learning_rate}
        for number, phase in enumerate(run.options.all_phases, 1)
    ]
    return {
        "made_by": "salt-ext",
        "model": run.name,
        "phases": phases,
        "before": first,
        "after": last,
        "tokens": curve.lines[-1]["tokens"],
        "seconds_of_updates": curve.seconds,
        "text": corpus.facts,
        "source_text": None if source is None else source.facts,
        "tokens_per_step": run.tokens_per_step,
        "context": run.context,
        "processes": run.args.world_size,
        "device": str(run.args.device),
        "inputs": {name: inputs[name] for name in ("options", "config", "versions")},
        "python": platform.python_version(),
    }
