"""The plan of an earlier transfer, on a sibling of its source: base and instruct models, fine-tunes, other sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from salt_ext.errors import InputError
from salt_ext.files.json_text import read_json
from salt_ext.files.paths import require_file
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.plan import Provenance, TransferPlan


@dataclass(frozen=True)
class Recorded:
    """Every row as an earlier plan says, what distillation taught it included.

    Attributes:
        file: the plan, salt_plan.safetensors of the earlier output; both tokenizers must be those that it was made for.

    Raises:
        InputError: there is no such file.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="plan",
        summary="what an earlier transfer made of a sibling of the source",
        paper="an earlier transfer",
        cost="reading the plan",
        needs=("file",),
    )

    file: Path | None = None

    def __post_init__(self) -> None:
        if self.file is None:
            raise InputError("method plan needs an earlier output's plan: pass --set file=OUT/salt_plan.safetensors")
        require_file(Path(self.file), "file")

    def combine(self, material: MethodInputs) -> Combinations:
        """The plan's rows of all tokens that it does not copy.

        Raises:
            InputError: the file is no plan, or one of other tokenizers.
        """
        plan = TransferPlan.load(Path(str(self.file)))
        self._check(plan, material)
        rows = plan.rows(Provenance.REGRESSED)
        lengths = plan.crow_indices.diff()
        chosen = torch.repeat_interleave(plan.provenance == Provenance.REGRESSED, lengths)
        sampled = len(plan.rows(Provenance.SAMPLED)) > 0
        warnings: tuple[str, ...] = ()
        if sampled and plan.seed != material.seed:
            warnings = (f"rows that are drawn are not the earlier plan's, whose seed was {plan.seed}: pass --seed",)
        return Combinations(
            rows.numpy(),
            lengths[rows].numpy(),
            plan.col_indices[chosen].numpy(),
            plan.values[chosen].numpy(),
            residual=plan.residual[rows].numpy(),
            head_values=None if plan.head_values is None else plan.head_values[chosen].numpy(),
            low_rank=plan.low_rank,
            dense=plan.dense,
            norms=plan.norms,
            norm_anchors=None if plan.norm_anchors is None else plan.norm_anchors.numpy(),
            fallback=Provenance.SAMPLED if sampled else Provenance.AVERAGED,
            draw=plan.draw,
            facts={"made_by": plan.metadata.get("method"), "of": plan.metadata.get("source")},
            warnings=warnings,
        )

    def _check(self, plan: TransferPlan, material: MethodInputs) -> None:
        source, target = material.source, material.target
        expected = read_json(plan.metadata.get("source_tokens", "null"))
        found = [source.readable(number) for number in range(source.size)]
        if plan.source_rows != source.size or expected != found:
            raise InputError(f"file {self.file} is a plan for another source tokenizer than {source.name}'s")
        rows, sources = plan.copies()
        pairs = dict(zip(material.anchors.target_ids.tolist(), material.anchors.source_ids.tolist(), strict=True))
        copied = zip(rows.tolist(), sources.tolist(), strict=True)
        if plan.target_rows < target.size or any(pairs.get(new) != old for new, old in copied):
            raise InputError(f"file {self.file} is a plan for another new tokenizer than {target.name}'s")
