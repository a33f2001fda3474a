"""The runs of a comparison: for each seed and method the plan, the same with anchors left out, and the moved model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from salt_ext.comparison.evaluator import Evaluator
from salt_ext.comparison.heldout import FOLDS, choose_folds, held_out_score
from salt_ext.comparison.identity import files_of_method
from salt_ext.comparison.journal import Journal, Result
from salt_ext.comparison.method_spec import MethodSpec
from salt_ext.comparison.pace import Pace
from salt_ext.comparison.result import Row
from salt_ext.methods import MethodInputs
from salt_ext.methods.core.needs import AUXILIARY, DONOR_TABLE, needs_of
from salt_ext.pair.pair import Pair, moved_rows
from salt_ext.pair.tables import PairTables
from salt_ext.plan import TransferPlan
from salt_ext.runtime.device import Placement
from salt_ext.runtime.machine import memory_growth
from salt_ext.runtime.progress import Clock
from salt_ext.vocab import Anchors


@dataclass
class Job:
    """The runs of all methods.

    Attributes:
        chosen: the methods.
        pair: source and new tokenizer.
        anchors: what they share.
        tables: of the pair.
        bench: measures.
        clock: notified of every step.
        journal: results go there; those that it holds are not made again.
        pace: says how far all is.
        log: called with the sentences.
        warnings: of the device.
        new_tokens: of the new tokenizer, known with the first run.
        left_out: anchors that one run leaves out, in all folds.
    """

    chosen: Sequence[MethodSpec]
    pair: Pair
    anchors: Anchors
    tables: PairTables
    bench: Evaluator
    clock: Clock
    journal: Journal
    pace: Pace
    log: Callable[[str], None]
    warnings: list[str] = field(default_factory=list)
    new_tokens: int = 0
    left_out: int = 0

    def run(self, seed: int) -> None:
        """All methods that the journal does not hold, with one seed; their plans first."""
        placement = Placement(self.bench.body.device)
        material = self.tables.material(self.anchors, seed=seed, placement=placement)
        folds = choose_folds(self.anchors, material.text_anchors, seed=seed)
        self.new_tokens, self.left_out = len(material.new), FOLDS * len(folds[0])
        wanted = [chosen for chosen in self.chosen if not self.journal.holds(chosen, seed)]
        plans = [self._plan(chosen, material) for chosen in wanted]
        if seed == 0:
            self.log(self.pace.begin())
        for chosen, (plan, figures, warnings) in zip(wanted, plans, strict=True):
            with self.clock.step("leave anchors out"):
                score = held_out_score(chosen, material)
            if score is not None:
                figures["held_out_cosine"] = score.cosine
                figures["reciprocal_rank"] = score.reciprocal_rank
                figures["norm_ratio"] = score.norm_ratio
            with self.clock.step(f"measure {chosen.label}"):
                before, after = self.bench.try_plan(plan, seed=seed, progress=self.clock.advance)
            figures["bits_per_byte"] = before.bits_per_byte
            if after is not None:
                figures["bits_per_byte_adapted"] = after.bits_per_byte
            self.journal.add(Result(chosen.label, seed, figures, warnings, files_of_method(chosen.method)))
            self.log(self.pace.next(_sentence(chosen.label, seed, figures)))
        self.warnings += [warning for warning in placement.warnings if warning not in self.warnings]

    def rows(self, seeds: int) -> tuple[Row, ...]:
        """All results, a row for each method."""
        rows = []
        for chosen in self.chosen:
            found = [self.journal.results[chosen.label, seed].figures for seed in range(seeds)]
            keys = [key for key in found[0] if all(key in figures for figures in found)]
            rows.append(Row(chosen.label, {key: tuple(figures[key] for figures in found) for key in keys}))
        return tuple(rows)

    def method_warnings(self) -> list[str]:
        """What the methods have to say, each sentence once, in the methods' order."""
        sentences = [
            f"{chosen.label}: {warning}"
            for chosen in self.chosen
            for result in self.journal.results.values()
            if result.method == chosen.label
            for warning in result.warnings
        ]
        return list(dict.fromkeys(sentences))

    def _plan(
        self, chosen: MethodSpec, material: MethodInputs
    ) -> tuple[TransferPlan, dict[str, float], tuple[str, ...]]:
        # Read before the time is taken: every method finds them read.
        table = material.source_table
        needs = needs_of(chosen.method)
        if DONOR_TABLE in needs:
            _ = material.donor
        if AUXILIARY in needs:
            _ = material.auxiliary
        with self.clock.step("make the plans"), memory_growth() as growth:
            begun = time.perf_counter()
            plan, warnings = chosen.plan(material, rows=moved_rows(self.pair))
            apply = partial(plan.apply, table)
            material.placement.run("weighted sums", lambda device: apply(device=device), needed=2 * table.nbytes)
            seconds = time.perf_counter() - begun
        figures = {"seconds": seconds}
        if growth.bytes is not None:
            figures["memory_bytes"] = float(growth.bytes)
        return plan, figures, warnings


def _sentence(label: str, seed: int, figures: dict[str, float]) -> str:
    adapted = figures.get("bits_per_byte_adapted")
    behind = "" if adapted is None else f", {adapted:.3f} adapted"
    return f"{label}, seed {seed}: {figures['bits_per_byte']:.3f} bits per byte{behind}"
