"""transfer(): the whole job, in the order of the paper's steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from salt_ext.checkpoint import check_write
from salt_ext.choosing import read_sample
from salt_ext.files.paths import require_text
from salt_ext.methods.core.needs import check_needs
from salt_ext.pair.pair import PairOptions, VocabularyRule, open_pair
from salt_ext.pair.tables import PairTables
from salt_ext.pipeline.options import AUTO_METHOD, DONOR_AUX, Settings
from salt_ext.pipeline.run import Job
from salt_ext.pipeline.summary import html_summary
from salt_ext.plan import TransferPlan
from salt_ext.runtime.device import AUTO, Placement
from salt_ext.runtime.machine import cpu_threads
from salt_ext.runtime.progress import Clock, Watching, watched
from salt_ext.vectors import open_vectors
from salt_ext.vocab import Level


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
    method: str = AUTO_METHOD,
    options: Mapping[str, Any] | None = None,
    text: Sequence[str | Path] = (),
    time_limit: float = 600.0,
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
    """Gives a language model the tokenizer of another model, every embedding row computed, by SALT (Lee et al. 2025) or
    what measured better.

    Every tensor of the source that the vocabulary indexes goes through one plan: anchors are copied, new tokens made of
    source rows by a method. All other weights are copied. The new tokenizer speaks the source's protocol: its special
    tokens, its frame around a text, its chat template. Everything is checked before any work, and the output appears
    complete or not at all.

    Args:
        source: folder or hub name of the language model to move: a decoder or an encoder-decoder.
        donor: a target-language model whose tokenizer and embeddings are used, or a tokenizer alone: folder or hub name
            of either, a tokenizer.json, or a SentencePiece model (.model). Without embeddings, a method that needs them
            takes the vectors of `aux` in their place, and is refused where there are none.
        output: the folder to make.
        method: how new rows are made, one of `salt_ext.methods.method_names()`; "auto" for the best that is known for
            what is given, or the best on `text`, see `salt_ext.choosing`; "salt" is the paper's, see `Salt` for what
            to expect of it.
        options: of the method, by name, such as {"ridge": 0.1}; see its class.
        text: UTF-8 files in the new language, a document a line, on which "auto" tries a handful of methods: each
            moved model is measured, and the best of them again after an equal short training.
        time_limit: seconds for that; 0 for none, where a rule decides.
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
        text=text,
        time_limit=time_limit,
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
            sample = read_sample(settings.text, seed=seed) if settings.text else None
            vectors = None if aux == DONOR_AUX else open_vectors(aux)
            pair = open_pair(source, donor, settings.models)
            tables = PairTables(pair, vectors, clock)
            if (named := settings.make_method()) is not None:
                check_needs(named, tables.lack)
            inputs = [pair.donor.path, *settings.input_paths()]
            resolved = check_write(pair.source.checkpoint, Path(output), inputs=inputs, force=force)
        job = Job(settings, pair, vectors, tables, sample, resolved, clock, Placement(settings.torch_device()))
        plan, report = job.run(force=force)
    return TransferResult(resolved, plan, report)
