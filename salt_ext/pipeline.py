"""transfer(): the whole job, in the order of the paper's steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor

from salt_ext import report
from salt_ext.checkpoint import (
    TokenIds,
    check_output,
    updated_config,
    updated_generation_config,
    write_checkpoint,
)
from salt_ext.errors import InputError
from salt_ext.inputs import Model, open_pair
from salt_ext.inspection import special_map, warnings_of
from salt_ext.methods import SaltOptions, fit_warnings, salt_plan
from salt_ext.plan import TransferPlan
from salt_ext.progress import Clock, Progress
from salt_ext.tables import TableFacts, examine_table
from salt_ext.vectors import VectorSource, open_vectors
from salt_ext.verify import verify_output
from salt_ext.vocab import Level, Vocabulary, match_vocabularies

PLAN_FILE = "salt_plan.safetensors"
REPORT_FILE = "salt_report.json"
DONOR_AUX = "donor"


@dataclass(frozen=True)
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


def transfer(
    source: str | Path,
    donor: str | Path,
    output: str | Path,
    *,
    aux: str = DONOR_AUX,
    temperature: float = 1.0,
    rcond: float | None = None,
    ridge: float = 0.0,
    match: Level = "exact",
    seed: int = 0,
    threads: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> TransferResult:
    """Gives a language model the tokenizer of another model, every embedding row computed by SALT (Lee et al. 2025).

    Every tensor of the source that the vocabulary indexes goes through one plan: anchors are copied, new tokens
    regressed onto the anchors that resemble them, the few without an auxiliary vector sampled. dtypes are kept, all
    other weights are copied. Everything is checked before any work, and the output appears complete or not at all.

    Args:
        source: folder or hub name of the causal language model to move, in safetensors.
        donor: folder or hub name of the model whose tokenizer and embedding table are used: decoder, encoder or
            encoder-decoder, with a fast tokenizer.
        output: the folder to make.
        aux: the auxiliary vectors that choose each new token's neighbours: "donor" (the donor's own table),
            "fasttext:FILE.bin" or "vectors:FILE", see `open_vectors`.
        temperature: of the sparsemax over cosine similarities; smaller means fewer neighbours.
        rcond: singular values of the neighbours' donor rows at or below rcond times the largest count as zero; None
            for max(k, h) * eps.
        ridge: this times the mean of the Gram matrix's diagonal is added to it; 0 is the paper's letter.
        match: how wide anchors are matched: "exact", "case" or "loose", see `match_vocabularies`.
        seed: of the sampled rows.
        threads: CPU threads; None for torch's own choice.
        force: replace an existing output.
        progress: told of every step: (step, units done, units in all or 0).

    Returns:
        The folder, the plan and the report.

    Raises:
        InputError: something that was given cannot be used; the output is untouched.
        OutputError: the output exists, or cannot be written; nothing is left behind.
    """
    options = SaltOptions(temperature=temperature, rcond=rcond, ridge=ridge)
    if isinstance(seed, bool) or not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}, expected a whole number from 0 to 2**63 - 1")
    if match not in get_args(Level):
        raise InputError(f"match is {match!r}, expected one of {', '.join(get_args(Level))}")
    given = {
        "aux": aux,
        "temperature": temperature,
        "rcond": rcond,
        "ridge": ridge,
        "match": match,
        "seed": seed,
        "threads": threads,
    }
    clock = Clock(progress)
    with _cpu_threads(threads):
        with clock.step("open the models"):
            vectors = None if aux == DONOR_AUX else open_vectors(aux)
            pair = open_pair(source, donor)
            folders = [pair.source.checkpoint.folder, pair.donor.checkpoint.folder]
            resolved = check_output(Path(output), inputs=folders, force=force)
        with clock.step("match the vocabularies"):
            anchors = match_vocabularies(pair.source.vocabulary, pair.donor.vocabulary, level=match)
        with clock.step("read the tables"):
            before = _examine_source(pair.source)
            donor_table = pair.donor.checkpoint.input_table()
            donor_facts = examine_table(donor_table, name="donor: its table", tokens=pair.donor.vocabulary.tokens)
        with clock.step("read the auxiliary vectors"):
            target = pair.donor.vocabulary
            auxiliary = donor_table if vectors is None else _look_up(vectors, target)
        with clock.step("regress the new tokens"):
            plan = salt_plan(
                auxiliary,
                donor_table,
                anchors,
                target,
                source_rows=pair.source.vocabulary.size,
                options=options,
                seed=seed,
                metadata={
                    "method": "salt",
                    "source": str(source),
                    "donor": str(donor),
                    "source_tokens": report.readable_tokens(pair.source.vocabulary),
                },
                progress=clock.advance,
            )
        width = donor_table.shape[1]
        del auxiliary, donor_table
        after: dict[str, Tensor] = {}
        written: dict[str, Any] = {}

        def make(name: str) -> Tensor:
            table = plan.apply(pair.source.checkpoint.read(name))
            after[name] = examine_table(table, name=f"the new {name}", tokens=target.tokens).norms
            clock.advance(len(after), len(before))
            return table

        def finish(folder: Path) -> None:
            plan.save(folder / PLAN_FILE)
            with clock.step("check the output"):
                checks = verify_output(folder, pair.source.checkpoint, plan, target)
            written.update(
                report.build_report(
                    pair=pair,
                    anchors=anchors,
                    plan=plan,
                    options=given,
                    vectors=None if vectors is None else {"name": vectors.name, "dimensions": vectors.dim},
                    special=special_map(pair, anchors),
                    before=before,
                    donor=donor_facts,
                    after=after,
                    checks=checks,
                    warnings=[*warnings_of(pair, anchors), *fit_warnings(plan, width, options)],
                    seconds=clock.seconds,
                )
            )
            report.write_report(written, folder / REPORT_FILE)

        with clock.step("write the output"):
            checkpoint = pair.source.checkpoint
            ids = _token_ids(target)
            write_checkpoint(
                checkpoint,
                resolved,
                tables={name: partial(make, name) for name in before},
                config=updated_config(checkpoint.config, rows=plan.target_rows, ids=ids),
                generation_config=updated_generation_config(checkpoint.generation_config, ids=ids),
                tokenizer=pair.donor.tokenizer,
                extra=finish,
                force=force,
            )
    return TransferResult(resolved, plan, written)


def _examine_source(source: Model) -> dict[str, TableFacts]:
    checkpoint, tokens = source.checkpoint, source.vocabulary.tokens
    names = checkpoint.vocabulary_tensors().names
    return {name: examine_table(checkpoint.read(name), name=f"source: {name}", tokens=tokens) for name in names}


def _look_up(vectors: VectorSource, target: Vocabulary) -> Tensor:
    return torch.from_numpy(vectors.lookup([form.text if form is not None else None for form in target.forms]))


def _token_ids(target: Vocabulary) -> TokenIds:
    """Ids for the configurations; an encoder's cls and sep begin and end a text where it has no bos and eos."""
    stand_ins = {"bos": "cls", "eos": "sep", "pad": "pad"}
    return {role: target.roles.get(role, target.roles.get(other)) for role, other in stand_ins.items()}


@contextmanager
def _cpu_threads(threads: int | None) -> Iterator[None]:
    if threads is None:
        yield
        return
    if threads < 1:
        raise InputError(f"threads is {threads}, expected a whole number of at least 1")
    usual = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(usual)
