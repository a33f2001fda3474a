"""transfer(): the whole job, in the order of the paper's steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from salt_ext import report
from salt_ext.apply import new_tensors, read_rows
from salt_ext.checkpoint import check_write, write_checkpoint
from salt_ext.checkpoint.header import FLOATING
from salt_ext.checkpoint.names import PLAN_FILE, REPORT_FILE
from salt_ext.device import AUTO, Placement
from salt_ext.forward import forward_check
from salt_ext.inputs import Model, Pair, PairOptions, VocabularyRule, match_pair, moved_configs, moved_rows, open_pair
from salt_ext.inspection import special_map, warnings_of
from salt_ext.left_out import left_out_of
from salt_ext.machine import available_memory, cpu_threads, give_memory_back, peak_memory
from salt_ext.materials import PairTables
from salt_ext.methods import KEY_KINDS, Combinations, assemble_plan
from salt_ext.methods.needs import check_needs
from salt_ext.paths import require_text
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.progress import Clock, Watching, watched
from salt_ext.protocol import llama_cpp_warnings
from salt_ext.settings import DONOR_AUX, Settings
from salt_ext.summary import html_summary
from salt_ext.tables import TableFacts, examine_table
from salt_ext.vectors import VectorSource, open_vectors
from salt_ext.verify import verify_output
from salt_ext.vocab import Anchors, Level

# The forward pass loads the whole model; no other step's memory grows with it.
_SHARE_FOR_FORWARD = 4


@dataclass(frozen=True, repr=False)
class TransferResult:
    """What a transfer made.

    Attributes:
        output: the new model's folder.
        plan: how each of its rows was made; also in the folder, as salt_plan.safetensors.
        report: inputs, options, counts, norms and times; also in the folder, as salt_report.json.
    """

    output: Path
    plan: TransferPlan
    report: dict[str, Any]

    def __repr__(self) -> str:
        return f"TransferResult(output={str(self.output)!r}, method={self.report['method']['name']!r}, {self.plan!r})"

    def _repr_html_(self) -> str:
        return html_summary(self.report, self.output)


def transfer(
    source: str | Path,
    donor: str | Path,
    output: str | Path,
    *,
    method: str = "salt",
    options: Mapping[str, Any] | None = None,
    aux: str = DONOR_AUX,
    seed: int = 0,
    match: Level = "exact",
    vocabulary: VocabularyRule = "extended",
    tokenizer: str | Path | None = None,
    token_map: str | Path | None = None,
    keep_markers: bool | None = None,
    pad_to_multiple_of: int | None = None,
    rows: int | None = None,
    dtype: str | torch.dtype | None = None,
    link: bool = False,
    force: bool = False,
    embedding: str | None = None,
    head: str | None = None,
    donor_embedding: str | None = None,
    trust_remote_code: bool = False,
    device: str = AUTO,
    threads: int | None = None,
    progress: Watching = None,
) -> TransferResult:
    """Gives a language model the tokenizer of another model, every embedding row computed by SALT (Lee et al. 2025).

    Every tensor of the source that the vocabulary indexes goes through one plan: anchors are copied, new tokens
    regressed onto the anchors that resemble them, the few without an auxiliary vector sampled; another method may do
    otherwise. All other weights are copied. The new tokenizer speaks the source's protocol: its special tokens, its
    frame around a text, its chat template. Everything is checked before any work, and the output appears complete or
    not at all.

    Args:
        source: folder or hub name of the language model to move: a decoder or an encoder-decoder.
        donor: a target-language model whose tokenizer and embeddings are used, or a tokenizer alone: folder or hub name
            of either, a tokenizer.json, or a SentencePiece model (.model). Without embeddings, a method that needs them
            takes the vectors of `aux` in their place, and is refused where there are none.
        output: the folder to make.
        method: how new rows are made, one of `salt_ext.methods.method_names()`; see `Salt` for what to expect.
        options: of the method, by name, such as {"ridge": 0.1}; see its class.
        aux: the auxiliary vectors that choose each new token's neighbours: "donor" (the donor's own table),
            "fasttext:FILE.bin" or "vectors:FILE", see `open_vectors`.
        seed: of everything that is drawn.
        match: how wide anchors are matched: "exact", "case" or "loose", see `match_vocabularies`.
        vocabulary: "extended" adds the source's special tokens that the new tokenizer lacks; "exact" keeps the new
            tokenizer as it is, with its own special tokens, frame and chat template: for a draft model of speculative
            decoding, which must have the vocabulary of a larger model, see also `rows`.
        tokenizer: folder or hub name of the new tokenizer where it is not the donor's; its tokens' donor vectors are
            then made of the donor's pieces, see `rows_for`.
        token_map: a file of pairs of tokens that override all others, see `load_token_map`.
        keep_markers: whether chat markers and special tokens of the source that the new tokenizer lacks are added with
            their rows; None for all of them where the source has a chat template, else for those whose rows were
            trained. Those that its configurations name are added unless this is False.
        pad_to_multiple_of: the tables' rows are rounded up to a multiple of this; None for what the source did.
        rows: how many rows the tables shall have, at least one for each id of the new tokenizer; None for as many as
            `pad_to_multiple_of` says.
        dtype: convert all floating weights to "bfloat16", "float16", "float32" or "float64"; None keeps them.
        link: hard-link the files that do not change, where the file system can, instead of copying them.
        force: replace an existing output.
        embedding: the key of the source's input table, where transformers does not know the architecture.
        head: the key of the source's output table, if it has one of its own, likewise.
        donor_embedding: the key of the donor's input table, likewise.
        trust_remote_code: run Python code that comes with the models.
        device: where the ops run: "auto" for a GPU if there is one that they can use, "cpu", "cuda" or "cuda:N".
        threads: CPU threads; None for torch's own choice.
        progress: a function that is told of every step: (step, units done, units in all or 0); False for silence,
            True for bars, None for bars in a notebook and on a terminal only.

    Returns:
        The folder, the plan and the report.

    Raises:
        InputError: something that was given cannot be used; the output is untouched.
        OutputError: the output exists, or cannot be written; nothing is left behind.
    """
    settings = Settings(
        method=method,
        options=dict(options or {}),
        aux=aux,
        seed=seed,
        match=match,
        models=PairOptions(
            vocabulary=vocabulary,
            tokenizer=tokenizer,
            token_map=token_map,
            keep_markers=keep_markers,
            embedding=embedding,
            head=head,
            donor_embedding=donor_embedding,
            trust_remote_code=trust_remote_code,
        ),
        pad_to_multiple_of=pad_to_multiple_of,
        rows=rows,
        dtype=dtype,
        link=link,
        device=device,
        threads=threads,
    )
    with cpu_threads(threads), watched(progress) as told:
        clock = Clock(told)
        with clock.step("open the models"):
            require_text(output)
            vectors = None if aux == DONOR_AUX else open_vectors(aux)
            pair = open_pair(source, donor, settings.models)
            check_needs(settings.make_method(), (tables := PairTables(pair, vectors, clock)).lack)
            inputs = [pair.donor.path, *settings.input_paths()]
            resolved = check_write(pair.source.checkpoint, Path(output), inputs=inputs, force=force)
        return _Job(settings, pair, vectors, tables, resolved, clock, Placement(settings.torch_device())).run(
            force=force
        )


@dataclass
class _Job:
    """One transfer, its inputs opened."""

    settings: Settings
    pair: Pair
    vectors: VectorSource | None
    tables: PairTables
    output: Path
    clock: Clock
    placement: Placement

    def run(self, *, force: bool) -> TransferResult:
        """Plans, writes and checks."""
        clock, settings, checkpoint = self.clock, self.settings, self.pair.source.checkpoint
        new, target, dtype = self.pair.target, self.pair.target.vocabulary, settings.torch_dtype()
        with clock.step("match the vocabularies"):
            anchors = match_pair(self.pair, level=settings.match)
            rows = moved_rows(self.pair, multiple=settings.pad_to_multiple_of, rows=settings.rows)
            configs = moved_configs(self.pair, anchors, rows=rows)
        with clock.step("read the source's tables"):
            before = _examine_source(self.pair.source)
        combined, plan, donor = self._plan(anchors, rows)
        warnings = [*warnings_of(self.pair, anchors), *configs.warnings, *self.tables.warnings, *combined.warnings]
        warnings += llama_cpp_warnings(new.tokenizer)
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
                    method=settings.make_method().info,
                    facts=combined.facts,
                    options=settings.as_json(),
                    vectors=self.vectors,
                    stood_in=self.tables.stood_in,
                    special=special_map(self.pair, anchors),
                    lost_tokens=left_out_of(self.pair),
                    before=before,
                    donor=donor,
                    after=after,
                    checks=checks,
                    left_out=[name for name in checkpoint.companions().left_out if not (folder / name).exists()],
                    warnings=list(dict.fromkeys([*warnings, *self.placement.warnings])),
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
        return TransferResult(self.output, plan, written)

    def _plan(self, anchors: Anchors, rows: int) -> tuple[Combinations, TransferPlan, TableFacts | None]:
        """What the method makes, the plan of all rows, and what is known of the donor's table where it was read."""
        pair, settings, method = self.pair, self.settings, self.settings.make_method()
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
                "method": settings.method,
                "source": pair.source.vocabulary.name,
                "donor": pair.donor.vocabulary.name,
                "source_tokens": report.readable_tokens(pair.source.vocabulary),
            },
        )
        return combined, plan, self.tables.donor_facts

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
