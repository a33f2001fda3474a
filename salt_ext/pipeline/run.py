"""The steps of one transfer, in the order of the paper's: each is given what it needs and returns what it found."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from salt_ext.checkpoint import check_write
from salt_ext.choosing import Decision, Sample, decide, read_sample
from salt_ext.comparison.method_spec import MethodSpec
from salt_ext.files.paths import require_text
from salt_ext.methods import KEY_KINDS, Combinations, Method, assemble_plan
from salt_ext.methods.core.needs import check_needs, needs_of
from salt_ext.pair.pair import Pair, match_pair, moved_configs, moved_rows, open_pair
from salt_ext.pair.table_facts import TableFacts
from salt_ext.pair.tables import PairTables
from salt_ext.pair.warnings import warnings_of
from salt_ext.pair.writing import write_moved_model
from salt_ext.pipeline.options import TransferOptions
from salt_ext.pipeline.start_warnings import start_warnings
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.runtime.device import Placement
from salt_ext.runtime.machine import available_memory, give_memory_back, peak_memory
from salt_ext.runtime.progress import Clock
from salt_ext.tokenizer import TranslatedConfigs, llama_cpp_warnings
from salt_ext.vectors import VectorSource, open_auxiliary
from salt_ext.verification.folder import verify_output
from salt_ext.verification.forward import forward_check
from salt_ext.vocab import Anchors, Vocabulary

# The forward pass loads the whole model; no other step's memory grows with it.
_SHARE_FOR_FORWARD = 4


class Matched(NamedTuple):
    """What is known once the vocabularies are matched.

    Attributes:
        anchors: the tokens that they share.
        rows: of the new tables.
        configs: the new configurations.
    """

    anchors: Anchors
    rows: int
    configs: TranslatedConfigs


class Made(NamedTuple):
    """How the new rows are made.

    Attributes:
        method: what makes them.
        decision: why it was chosen; None where the user named it.
        combined: what the method returned.
        plan: of all rows.
    """

    method: Method
    decision: Decision | None
    combined: Combinations
    plan: TransferPlan


class Checked(NamedTuple):
    """What the finished folder was found to be.

    Attributes:
        checks: what was checked, one phrase each.
        norms: by name of each table, float64 [ids of the new tokenizer], norms of the new rows.
        peak_before: bytes, the most memory that the process had had before this check.
    """

    checks: list[str]
    norms: dict[str, Tensor]
    peak_before: int


@dataclass(frozen=True)
class Run:
    """One transfer, its inputs opened and checked.

    Attributes:
        options: what the user asked for.
        pair: the models.
        vectors: the auxiliary vectors; None for the donor's own table, if it has one.
        tables: the pair's.
        sample: the text that the method is chosen by; None for none.
        output: the folder to make, absolute.
        clock: notified of every step.
        placement: where the ops run.
    """

    options: TransferOptions
    pair: Pair
    vectors: VectorSource | None
    tables: PairTables
    sample: Sample | None
    output: Path
    clock: Clock
    placement: Placement

    @classmethod
    def open(
        cls,
        source: str | Path,
        donor: str | Path,
        output: str | Path,
        options: TransferOptions,
        clock: Clock,
        *,
        force: bool,
    ) -> Run:
        """Opens the models and checks all that can be checked before any work; touches nothing.

        Raises:
            InputError, OutputError: see `salt_ext.transfer`.
        """
        require_text(output)
        sample = read_sample(options.text, seed=options.seed) if options.text else None
        vectors = open_auxiliary(options.aux)
        pair = open_pair(source, donor, options)
        tables = PairTables(pair, vectors, clock)
        if options.named_method is not None:
            check_needs(options.named_method, tables.lack)
        inputs = [pair.donor.path, *options.input_paths()]
        resolved = check_write(
            pair.source.checkpoint, Path(output), inputs=inputs, force=force, dtype=options.torch_dtype
        )
        return cls(options, pair, vectors, tables, sample, resolved, clock, Placement(options.torch_device))

    def match(self) -> Matched:
        """Matches the vocabularies."""
        anchors = match_pair(self.pair, level=self.options.match)
        rows = moved_rows(self.pair, multiple=self.options.pad_to_multiple_of, rows=self.options.rows)
        return Matched(anchors, rows, moved_configs(self.pair, anchors, rows=rows))

    def choose_method(self, matched: Matched) -> tuple[Method, Decision | None]:
        """The user's method, or the one that is chosen for them, and why."""
        if self.options.named_method is not None:
            return self.options.named_method, None
        decision = decide(
            self.pair,
            self.tables.material(matched.anchors, seed=self.options.seed, placement=self.placement),
            rows_known=self.tables.lack is None,
            rows=matched.rows,
            sample=self.sample,
            time_limit=self.options.time_limit,
            device=self.placement.device,
            clock=self.clock,
        )
        self.tables.forget_uses()
        return MethodSpec.of(decision.method).method, decision

    def make(self, method: Method, decision: Decision | None, matched: Matched) -> Made:
        """The plan of all rows; the tables that it was made from are given back."""
        with self.clock.step("make the new tokens' rows"):
            material = self.tables.material(matched.anchors, seed=self.options.seed, placement=self.placement)
            combined = method.combine(material)
        plan = assemble_plan(
            combined,
            matched.anchors,
            self.pair.target.vocabulary,
            rows=matched.rows,
            source_rows=self.pair.source.vocabulary.size,
            seed=self.options.seed,
            metadata={
                "method": method.info.name,
                "source": self.pair.source.vocabulary.name,
                "donor": self.pair.donor.vocabulary.name,
                "source_tokens": _readable_tokens(self.pair.source.vocabulary),
            },
        )
        self.tables.close()
        return Made(method, decision, combined, plan)

    def write_model(self, folder: Path, matched: Matched, plan: TransferPlan) -> None:
        """Fills the new folder with the model, a table at a time."""
        options = self.options
        write_moved_model(
            self.pair,
            matched.configs,
            self.tables.source.moved(plan, dtype=options.torch_dtype, placement=self.placement),
            folder,
            dtype=options.torch_dtype,
            link=options.link,
            advance=self.clock.advance,
        )

    def check(self, folder: Path, anchors: Anchors, plan: TransferPlan) -> Checked:
        """Looks at the folder anew: every table beside the source's, and one forward pass of both models.

        Raises:
            OutputError: something is not as it must be.
        """
        peak = peak_memory()
        give_memory_back()
        source, target = self.pair.source.checkpoint, self.pair.target
        found = verify_output(folder, source, plan, tokenizer=target.tokenizer, dtype=self.options.torch_dtype)
        norms = {name: each[: target.vocabulary.size] for name, each in found.norms.items()}
        return Checked([*found.checks, self._run_both(folder, anchors, plan)], norms, peak)

    def warnings(
        self, matched: Matched, made: Made, before: dict[str, TableFacts], after: dict[str, Tensor]
    ) -> list[str]:
        """Sentences for the user, each once: of the pair, the method, the start and the devices."""
        known = [*warnings_of(self.pair, matched.anchors), *matched.configs.warnings, *self.tables.warnings]
        known += [*made.combined.warnings, *llama_cpp_warnings(self.pair.target.tokenizer)]
        known += () if made.decision is None else made.decision.warnings
        tensors = self.pair.source.checkpoint.tensors
        tables = {name: facts for name, facts in before.items() if len(tensors[name].shape) > 1}
        text = torch.from_numpy(matched.anchors.target_ids[_is_text(matched.anchors)])
        vectors = bool(needs_of(made.method))
        start = start_warnings(made.plan, text=text, before=tables, after=after, vectors=vectors)
        return list(dict.fromkeys([*known, *start, *self.placement.warnings]))

    def _run_both(self, folder: Path, anchors: Anchors, plan: TransferPlan) -> str:
        """One forward pass of both models; copied text tokens only, since special ones may change what is computed."""
        text = _is_text(anchors) & (plan.provenance.numpy()[anchors.target_ids] == Provenance.COPIED)
        return forward_check(
            self.pair.source.checkpoint.folder,
            folder,
            list(zip(anchors.source_ids[text].tolist(), anchors.target_ids[text].tolist(), strict=True)),
            budget=available_memory() // _SHARE_FOR_FORWARD,
            dtype=self.options.torch_dtype,
            trust_remote_code=self.options.trust_remote_code,
        )


def _is_text(anchors: Anchors) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.isin(anchors.kinds, KEY_KINDS)


def _readable_tokens(vocabulary: Vocabulary) -> str:
    """A JSON list, by id, of what each token writes (special tokens as spelt, null for a hole); kept with a plan."""
    return json.dumps([vocabulary.readable(number) for number in range(vocabulary.size)], ensure_ascii=False)
