"""What is said of a distillation: its cost before it begins, its part of the report and of the model card."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from salt_ext.checkpoint.layout import read_json_object
from salt_ext.checkpoint.names import CARD_FILE, REPORT_FILE
from salt_ext.distillation.training import tokens_of
from salt_ext.evaluation.token_stream import TextScore
from salt_ext.files.digest import file_sha256

if TYPE_CHECKING:
    from salt_ext.distillation.opening import Learner
    from salt_ext.distillation.options import DistillOptions
    from salt_ext.distillation.paired_text import Window
    from salt_ext.distillation.training import Lesson, Step
    from salt_ext.plan import DensePart

# Tokens by name: there to be looked through by a person, their number stands beside them.
_LISTED = 1000
# A number, its gradient, and the optimizer's mean.
_BYTES_PER_NUMBER = 12


def cost_sentence(lesson: Lesson, batches: Sequence[Sequence[Window]]) -> str:
    """What the training will cost, by one step that is thrown away."""
    tokens = sum(map(tokens_of, batches))
    minutes = lesson.seconds_of(batches[0]) * len(batches) / 60
    numbers = sum(table.own.numel() for table in lesson.learned.tables.values())
    size = _BYTES_PER_NUMBER * numbers / 2**20
    return (
        f"about {minutes:.1f} min on {lesson.models.student.device} for {tokens:,} tokens in {len(batches)} steps: "
        f"{len(lesson.learned.input.own):,} of {len(lesson.learned.rows):,} new tokens are in the text, "
        f"{size:,.0f} MiB for what they learn"
    )


def report_of(
    learner: Learner,
    options: DistillOptions,
    steps: Sequence[Step],
    scores: tuple[TextScore, TextScore],
    dense: DensePart,
    *,
    layer: int,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """The student's report with a part "distillation".

    Args:
        learner: student and teacher.
        options: of the training.
        steps: of the training.
        scores: of the held-out text, before and after.
        dense: what was learned.
        layer: whose states were compared.
        seconds: of the job's steps.

    Raises:
        InputError: the student's report is no JSON object.
    """
    reached = dense.snippets > 0
    unreached = dense.rows[~reached].tolist()
    tokens = learner.vocabulary.tokens
    before, after = scores
    return read_json_object(learner.student.folder / REPORT_FILE) | {
        "distillation": {
            "salt-ext": version("salt-ext"),
            "options": options.as_json(),
            "text_sha256": {str(text): file_sha256(Path(text)) for text in options.text},
            "layer": layer,
            "rows": {"learned": int(reached.sum()), "unreached": len(unreached)},
            "unreached_tokens": [[number, tokens[number]] for number in unreached[:_LISTED]],
            "moved": _quartiles(dense.moved[reached]),
            "snippets": _quartiles(dense.snippets[reached].float()),
            "held_out_bytes": before.bytes,
            "bits_per_byte": {"before": before.bits_per_byte, "after": after.bits_per_byte},
            "curve": [{"tokens": step.tokens} | step.losses for step in steps],
            "warnings": _warnings(before, after),
            "seconds": {name: round(value, 4) for name, value in seconds.items()},
        }
    }


def card_of(learner: Learner, report: dict[str, Any]) -> str:
    """The student's model card with a paragraph of the distillation."""
    file = learner.student.folder / CARD_FILE
    own = file.read_text(encoding="utf-8").rstrip() if file.is_file() else "# A moved language model"
    found = report["distillation"]
    bits = found["bits_per_byte"]
    return f"""{own}

## Distillation

The rows of {found["rows"]["learned"]:,} new tokens then learned from the source itself on
{found["curve"][-1]["tokens"]:,} tokens, while all else stayed as it was: bits per byte of held-out text went from
{bits["before"]:.3f} to {bits["after"]:.3f}. The plan holds what they learned as its dense part.
"""


def _warnings(before: TextScore, after: TextScore) -> list[str]:
    if after.bits_per_byte <= before.bits_per_byte:
        return []
    return ["bits per byte of held-out text rose: the text is too short, or the learning rate too high"]


def _quartiles(numbers: torch.Tensor) -> dict[str, float]:
    found = torch.quantile(numbers.double(), torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64))
    return dict(zip(("min", "q25", "median", "q75", "max"), found.tolist(), strict=True))
