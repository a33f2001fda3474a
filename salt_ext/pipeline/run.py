"""The steps of one transfer, in the order of the paper's, its inputs opened and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from salt_ext.checkpoint import write_checkpoint
from salt_ext.checkpoint.header import FLOATING
from salt_ext.checkpoint.names import PLAN_FILE, REPORT_FILE
from salt_ext.choosing import Decision, Sample, decide
from salt_ext.comparison.method_spec import Chosen
from salt_ext.methods import KEY_KINDS, Combinations, Method, assemble_plan
from salt_ext.methods.core.needs import needs_of
from salt_ext.pair.left_out import left_out_of
from salt_ext.pair.new_tensors import new_tensors, read_rows
from salt_ext.pair.pair import Model, Pair, match_pair, moved_configs, moved_rows
from salt_ext.pair.table_facts import TableFacts, examine_table
from salt_ext.pair.tables import PairTables
from salt_ext.pipeline import report
from salt_ext.pipeline.inspection import special_map, warnings_of
from salt_ext.pipeline.options import Settings
from salt_ext.pipeline.start_warnings import start_warnings
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.runtime.device import Placement
from salt_ext.runtime.machine import available_memory, give_memory_back, peak_memory
from salt_ext.runtime.progress import Clock
from salt_ext.tokenizer import llama_cpp_warnings
from salt_ext.vectors import VectorSource
from salt_ext.verification.folder import verify_output
from salt_ext.verification.forward import forward_check
from salt_ext.vocab import Anchors

# The forward pass loads the whole model; no other step's memory grows with it.
_SHARE_FOR_FORWARD = 4


@dataclass
class Job:
    """One transfer.

    Attributes:
        settings: what the user asked for.
        pair: the models.
        vectors: the auxiliary vectors; None for the donor's own table, if it has one.
        tables: the pair's.
        sample: the text that the method is chosen by; None for none.
        output: the folder to make.
        clock: told of every step.
        placement: where the ops run.
    """

    settings: Settings
    pair: Pair
    vectors: VectorSource | None
    tables: PairTables
    sample: Sample | None
    output: Path
    clock: Clock
    placement: Placement

    def run(self, *, force: bool) -> tuple[TransferPlan, dict[str, Any]]:
        """Plans, writes and checks.

        Returns:
            The plan and the report.
        """
        clock, settings, checkpoint = self.clock, self.settings, self.pair.source.checkpoint
        new, target, dtype = self.pair.target, self.pair.target.vocabulary, settings.torch_dtype()
        with clock.step("match the vocabularies"):
            anchors = match_pair(self.pair, level=settings.match)
            rows = moved_rows(self.pair, multiple=settings.pad_to_multiple_of, rows=settings.rows)
            configs = moved_configs(self.pair, anchors, rows=rows)
        with clock.step("read the source's tables"):
            before = _examine_source(self.pair.source)
        method, decision = self._method(anchors, rows)
        combined, plan = self._plan(method, anchors, rows)
        self.tables.close()
        warnings = [*warnings_of(self.pair, anchors), *configs.warnings, *self.tables.warnings, *combined.warnings]
        warnings += [*llama_cpp_warnings(new.tokenizer), *(() if decision is None else decision.warnings)]
        after: dict[str, Tensor] = {}
        written: dict[str, Any] = {}

        def seen(name: str, table: Tensor) -> None:
            after[name] = examine_table(table, name=f"the new {name}", tokens=target.tokens).norms

        def finish(folder: Path) -> None:
            plan.save(folder / PLAN_FILE)
            before_check = peak_memory()
            give_memory_back()
            with clock.step("check the output"):
                checks = verify_output(folder, checkpoint, plan, tokenizer=new.tokenizer, dtype=dtype)
                checks.append(self._run_both(folder, anchors, plan))
            written.update(
                report.build_report(
                    pair=self.pair,
                    anchors=anchors,
                    plan=plan,
                    method=method.info,
                    facts=combined.facts,
                    decision=decision,
                    options=settings.as_json(),
                    vectors=self.vectors,
                    stood_in=self.tables.stood_in,
                    special=special_map(self.pair, anchors),
                    lost_tokens=left_out_of(self.pair),
                    before=before,
                    donor=self.tables.donor_facts,
                    after=after,
                    checks=checks,
                    left_out=[name for name in checkpoint.companions().left_out if not (folder / name).exists()],
                    warnings=self._warnings(warnings, method, anchors, plan, before, after),
                    seconds=clock.seconds,
                    devices=self.placement.ran,
                    peak_memory=peak_memory(),
                    peak_before_check=before_check,
                )
            )
            report.write_report(written, folder / REPORT_FILE)

        with clock.step("write the output"):
            write_checkpoint(
                checkpoint,
                self.output,
                tensors=new_tensors(checkpoint, plan, dtype=dtype, placement=self.placement, seen=seen),
                config=configs.config,
                generation_config=configs.generation_config,
                tokenizer=new.tokenizer,
                extra=finish,
                force=force,
                link=settings.link,
                dtype=dtype,
                advance=clock.advance,
            )
        return plan, written

    def _method(self, anchors: Anchors, rows: int) -> tuple[Method, Decision | None]:
        """The user's method, or the one that is chosen for him, and why."""
        if (named := self.settings.make_method()) is not None:
            return named, None
        decision = decide(
            self.pair,
            self.tables.material(anchors, seed=self.settings.seed, placement=self.placement),
            rows_known=self.tables.lack is None,
            rows=rows,
            sample=self.sample,
            time_limit=self.settings.time_limit,
            device=self.placement.device,
            clock=self.clock,
        )
        self.tables.forget_uses()
        return Chosen.of(decision.method).method, decision

    def _plan(self, method: Method, anchors: Anchors, rows: int) -> tuple[Combinations, TransferPlan]:
        """What the method makes, and the plan of all rows."""
        pair, settings = self.pair, self.settings
        with self.clock.step("make the new tokens' rows"):
            combined = method.combine(self.tables.material(anchors, seed=settings.seed, placement=self.placement))
        plan = assemble_plan(
            combined,
            anchors,
            pair.target.vocabulary,
            rows=rows,
            source_rows=pair.source.vocabulary.size,
            seed=settings.seed,
            metadata={
                "method": method.info.name,
                "source": pair.source.vocabulary.name,
                "donor": pair.donor.vocabulary.name,
                "source_tokens": report.readable_tokens(pair.source.vocabulary),
            },
        )
        return combined, plan

    def _warnings(
        self,
        known: list[str],
        method: Method,
        anchors: Anchors,
        plan: TransferPlan,
        before: dict[str, TableFacts],
        after: dict[str, Tensor],
    ) -> list[str]:
        """All of them, each once: those that were known, what the start looks like, and where the ops could not run."""
        tensors = self.pair.source.checkpoint.tensors
        tables = {name: facts for name, facts in before.items() if len(tensors[name].shape) > 1}
        vectors = bool(needs_of(method))
        text = torch.from_numpy(anchors.target_ids[np.isin(anchors.kinds, KEY_KINDS)])
        start = start_warnings(plan, text=text, before=tables, after=after, vectors=vectors)
        return list(dict.fromkeys([*known, *start, *self.placement.warnings]))

    def _run_both(self, folder: Path, anchors: Anchors, plan: TransferPlan) -> str:
        """One forward pass of both models; copied text tokens only, since special ones may change what is computed."""
        copied = plan.provenance.numpy()[anchors.target_ids] == Provenance.COPIED
        text = np.isin(anchors.kinds, KEY_KINDS) & copied
        return forward_check(
            self.pair.source.checkpoint.folder,
            folder,
            list(zip(anchors.source_ids[text].tolist(), anchors.target_ids[text].tolist(), strict=True)),
            budget=available_memory() // _SHARE_FOR_FORWARD,
            dtype=self.settings.torch_dtype(),
            trust_remote_code=self.settings.models.trust_remote_code,
        )


def _examine_source(source: Model) -> dict[str, TableFacts]:
    checkpoint, tokens = source.checkpoint, source.vocabulary.tokens
    names = [name for name in checkpoint.vocabulary_tensors().names if checkpoint.tensors[name].dtype in FLOATING]
    return {
        name: examine_table(read_rows(checkpoint, name, rows=len(tokens)), name=f"source: {name}", tokens=tokens)
        for name in names
    }
