"""compare(): every method on the same anchors, vectors, rows and texts."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
import transformers

from salt_ext.comparison.body import Body
from salt_ext.comparison.evaluator import TOKENS_PER_STEP, Adaptation, Evaluator
from salt_ext.comparison.identity import identity
from salt_ext.comparison.job import Job
from salt_ext.comparison.journal import Journal
from salt_ext.comparison.method_spec import parse_methods
from salt_ext.comparison.pace import Pace
from salt_ext.comparison.result import Comparison, make_folder
from salt_ext.comparison.texts import Texts, read_texts
from salt_ext.errors import InputError
from salt_ext.methods.core.needs import check_needs
from salt_ext.pair.pair import PairOptions, match_pair, open_pair
from salt_ext.pair.tables import PairTables
from salt_ext.pair.warnings import warnings_of
from salt_ext.runtime.device import AUTO, choose_device
from salt_ext.runtime.machine import cpu_threads
from salt_ext.runtime.progress import Clock, Watching, watched
from salt_ext.vectors import DONOR_AUX, open_auxiliary
from salt_ext.vocab import Level


def compare(
    source: str | Path,
    donor: str | Path,
    methods: str | Sequence[str],
    *,
    text: Sequence[str | Path],
    adapt: int = 0,
    adapt_text: Sequence[str | Path] = (),
    lr: float = 5e-4,
    seeds: int = 1,
    max_bytes: int = 100_000,
    aux: str = DONOR_AUX,
    match: Level = "exact",
    models: PairOptions | None = None,
    device: str = AUTO,
    threads: int | None = None,
    progress: Watching = None,
    output: str | Path | None = None,
    log: Callable[[str], None] | None = None,
) -> Comparison:
    """Makes one table of methods on identical inputs, with the controls `mean` and `random`.

    For each seed and method: the plan of the new model, timed; the same with anchors left out, see
    `salt_ext.comparison.heldout`; and the moved model on the text, before training and after an adaptation. A seed
    changes what is left out, every row that is drawn, and the order in which the adaptation reads. All plans of the
    first seed are made before anything else, so that a method that lacks something stops the run early.

    Seconds and memory are those of making the plan and the new input table, the pair's tables read before. Memory is
    the growth of this process's resident memory at its peak (None in the table where the system does not tell; on a
    GPU, the CPU's part only): it includes what a method reads for itself, and is good to a few megabytes.

    Args:
        source: folder or hub name of the language model to move, a decoder.
        donor: the model whose tokenizer and embedding table are used, or a tokenizer alone, see `salt_ext.transfer`.
        methods: "salt,salt:ridge=0.1;temperature=0.5,focus", or a list of such items.
        text: UTF-8 files in the new language, a document a line; measured on.
        adapt: tokens of the adaptation of every model; 0 for none. Rounded down to steps of 4,096.
        adapt_text: UTF-8 files for it; lines that `text` holds too are left out. Of each file as much is read, from its
            front, as eight bytes for every token.
        lr: highest learning rate of the adaptation.
        seeds: how often everything is repeated, with the seeds 0, 1, ...
        max_bytes: read no more of each file of `text`, from its front.
        aux: the auxiliary vectors, see `salt_ext.transfer`.
        match: how wide anchors are matched, see `match_vocabularies`.
        models: what else is to be said of the models and the new tokenizer.
        device: where operators and models run: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads; None for torch's own choice.
        progress: a function that is told of every step: (step, units done, units in all or 0); False for silence,
            True for bars, None for bars in a notebook and on a terminal only.
        output: a folder for table.csv, table.json and, where matplotlib is installed, picture.png. Every result is
            written there as it comes, as a line of results.jsonl, which is removed at the end: where it is found, with
            the same inputs, the comparison goes on behind it, with more methods or seeds, too.
        log: called with a sentence for each result: how many there are, and how long the others will take.

    Returns:
        The table.

    Raises:
        InputError: something that was given cannot be used, or a method lacks what it needs.
        OutputError: the folder for temporary files has no room for one model; the folder `output` cannot be written,
            or holds files that are no comparison's, or an unfinished comparison of other inputs.
    """
    chosen = parse_methods(methods)
    _check(adapt=adapt, adapt_text=adapt_text, lr=lr, seeds=seeds, max_bytes=max_bytes, match=match, threads=threads)
    placed = choose_device(device)
    begun = time.perf_counter()
    texts = read_texts(text, adapt_text, max_bytes=max_bytes, adapt=adapt)
    folder = None if output is None else Path(output)
    if folder is not None:
        token_map = None if models is None else models.token_map
        read = (*text, *adapt_text, *(() if token_map is None else (token_map,)))
        make_folder(folder, inputs=[Path(file) for file in read])
    with cpu_threads(threads), watched(progress) as callback:
        clock = Clock(callback)
        with clock.step("open the models"):
            vectors = open_auxiliary(aux)
            pair = open_pair(source, donor, models)
            tables = PairTables(pair, vectors, clock)
            for each in chosen:
                check_needs(each.method, tables.lack)
            anchors = match_pair(pair, level=match)
            body = Body.open(pair, anchors, device=placed)
        with clock.step("encode the text"):
            encoded = texts.encode(pair, context=body.context)
        training = encoded.training
        adaptation = None if training is None else Adaptation(training, adapt // TOKENS_PER_STEP, lr)
        bench = Evaluator(body, encoded.held_out, adaptation)
        inputs = identity(
            pair, texts, aux=aux, match=match, models=models, adaptation=adaptation, dtype=body.dtype, device=placed
        )
        journal = Journal.open(folder, inputs)
        there = sum(journal.holds(each, seed) for each in chosen for seed in range(seeds))
        pace = Pace(len(chosen) * seeds, there)
        job = Job(chosen, pair, anchors, tables, bench, clock, journal, pace, log or (lambda sentence: None))
        for seed in range(seeds):
            job.run(seed)
        source_score = body.source(encoded.held_out_of_source)
    facts = {
        "source": str(source),
        "donor": str(donor),
        "aux": aux,
        "match": match,
        "anchors": len(anchors),
        "new_tokens": job.new_tokens,
        "left_out": job.left_out,
        "seeds": list(range(seeds)),
        "text": texts.facts | {"bytes": encoded.held_out.bytes, "tokens": int(encoded.held_out.counted.sum())},
        "adaptation": _adaptation_facts(adaptation, texts, body.context),
        "context": body.context,
        "dtype": str(body.dtype).removeprefix("torch."),
        "device": str(placed),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "seconds": {name: round(value, 2) for name, value in clock.seconds.items()},
        "seconds_in_all": round(time.perf_counter() - begun, 2),
    }
    warnings = (*warnings_of(pair, anchors), *encoded.warnings, *tables.warnings, *job.method_warnings(), *job.warnings)
    comparison = Comparison(job.rows(seeds), source_score.bits_per_byte, facts, tuple(dict.fromkeys(warnings)))
    if folder is not None:
        comparison.write(folder)
        journal.close()
    return comparison


def _check(
    *,
    adapt: int,
    adapt_text: Sequence[str | Path],
    lr: float,
    seeds: int,
    max_bytes: int,
    match: str,
    threads: int | None,
) -> None:
    for name, value in (("seeds", seeds), ("max_bytes", max_bytes), ("threads", 1 if threads is None else threads)):
        if value < 1:
            raise InputError(f"{name} is {value}, expected a whole number of at least 1")
    if match not in get_args(Level):
        raise InputError(f"match is {match!r}, expected one of {', '.join(get_args(Level))}")
    if adapt and adapt < TOKENS_PER_STEP:
        raise InputError(f"adapt is {adapt}, expected 0 or at least {TOKENS_PER_STEP} tokens, which is one step")
    if adapt and not adapt_text:
        raise InputError("adapt needs a text of its own (adapt_text), which is not the one that is measured on")
    if adapt_text and not adapt:
        raise InputError("adapt_text is given, but not how many tokens of it are to be read (adapt)")
    if not 0 < lr < 1:
        raise InputError(f"lr is {lr}, expected a number between 0 and 1")


def _adaptation_facts(adaptation: Adaptation | None, texts: Texts, context: int) -> dict[str, Any] | None:
    if adaptation is None:
        return None
    windows = max(1, TOKENS_PER_STEP // context)
    return {
        "files": texts.training_files,
        "lines_left_out": texts.overlap,
        "tokens_of_text": len(adaptation.stream.ids),
        "tokens": adaptation.steps * windows * context,
        "steps": adaptation.steps,
        "lr": adaptation.lr,
    }
