"""The demonstration from text to table."""

from __future__ import annotations

import json
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from salt_ext.demo.arms import (
    CONTROLS,
    SALT,
    Candidate,
    Outcome,
    Settings,
    control_plan,
    open_candidate,
    try_candidate,
    write_control,
)
from salt_ext.demo.corpus import Corpus, read_corpus
from salt_ext.demo.models import Size, build_model, save, train_tokenizer
from salt_ext.demo.parallel import Tell, together
from salt_ext.demo.table import rich_table
from salt_ext.display.printing import last_words, say
from salt_ext.errors import InputError, OutputError
from salt_ext.evaluation.text import adapt
from salt_ext.pipeline import transfer
from salt_ext.plan import TransferPlan
from salt_ext.runtime.progress import Clock, terminal_bars

if TYPE_CHECKING:
    from rich.console import Console

RESULT_FILE = "demo.json"


@dataclass(frozen=True)
class Budget:
    """What the demonstration spends; everything is counted, nothing is timed, so that results can be repeated.

    Attributes:
        train_bytes: text of each language to train on.
        held_out_bytes: code to measure on.
        target_share: of the source's text in the target language, in bytes, as a real source has seen a little of it.
        source: the source's shape and training.
        donor: the donor's.
        adaptation: how the arms are measured and adapted.
    """

    train_bytes: int
    held_out_bytes: int
    target_share: float
    source: Size
    donor: Size
    adaptation: Settings


# The donor's table is several times wider (192) than a new token has neighbours (about 40): where the two come close,
# as with a narrow donor or a vocabulary of 4,096, regressions without a ridge fit noise and SALT's rows grow too long.
TWO_MINUTES = Budget(
    train_bytes=1_200_000,
    held_out_bytes=60_000,
    target_share=0.05,
    source=Size(vocabulary=2048, hidden=128, layers=2, steps=200, tokens_per_step=2048, context=128, lr=5e-3),
    donor=Size(vocabulary=2048, hidden=192, layers=1, steps=150, tokens_per_step=2048, context=128, lr=5e-3),
    adaptation=Settings(steps=15, tokens_per_step=2048, lr=1e-3, context=128),
)


def run(
    folder: Path | None,
    *,
    seed: int = 0,
    threads: int | None = None,
    console: Console,
    budget: Budget = TWO_MINUTES,
) -> dict[str, Any]:
    """Trains a source and a donor, transfers one to the other's tokenizer, and compares with random and mean rows.

    The source learns English documentation with a little code, the donor learns code; both are written as ordinary
    model folders and go through `salt_ext.transfer`. Equal seed, Python, torch and kind of
    CPU give equal figures, whatever the number of threads.

    Args:
        folder: where to keep the models and `demo.json`; must be missing or empty. None for a temporary one.
        seed: of weights, order of text and random rows.
        threads: models that are trained at once, one CPU thread each; None for torch's own number of threads.
        console: where to print.
        budget: sizes.

    Returns:
        What `demo.json` holds: "arms" and "references" with bits per byte, "anchors", "rows", "text", "seconds", and
        what is needed to repeat it.

    Raises:
        InputError: threads is below 1, or Python comes without the sources of its library.
        OutputError: the folder holds something, or cannot be written.
    """
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}, expected a whole number of at least 1")
    usual = torch.get_num_threads()
    torch.set_num_threads(1)  # of each job; what is spread over threads is jobs
    try:
        with _workplace(folder) as place:
            result, arms, references = _run(place, seed, threads or usual, console, budget)
    finally:
        torch.set_num_threads(usual)
    where = f"kept in {folder}" if folder is not None else "removed; --output DIR keeps them"
    with last_words(None if folder is None else f"the models and {RESULT_FILE} are {where}"):
        _print(result, arms, references, console)
        say(console, f"The models and {RESULT_FILE} are {where}.")
    return result


def _run(
    place: Path, seed: int, workers: int, console: Console, budget: Budget
) -> tuple[dict[str, Any], list[Outcome], list[Outcome]]:
    begun = time.perf_counter()
    with terminal_bars(console) as progress:
        clock = Clock(progress)
        with clock.step("read the text"):
            corpus = read_corpus(train_bytes=budget.train_bytes, held_out_bytes=budget.held_out_bytes)
            mixed = source_text(corpus, budget.target_share)
        with clock.step("train the tokenizers"):
            source_tokenizer = train_tokenizer(mixed, budget.source.vocabulary)
            donor_tokenizer = train_tokenizer(corpus.code, budget.donor.vocabulary)
        with clock.step("train source and donor"):
            trainings = [
                _Training(budget.source, build_model(source_tokenizer, budget.source, seed), source_tokenizer, mixed),
                _Training(
                    budget.donor, build_model(donor_tokenizer, budget.donor, seed + 1), donor_tokenizer, corpus.code
                ),
            ]
            together(
                [partial(_train, training, seed) for training in trainings], workers=workers, advance=clock.advance
            )
            for training, name in zip(trainings, ("source", "donor"), strict=True):
                save(training.model, training.tokenizer, place / name)
        with clock.step("transfer"):
            made = transfer(
                place / "source", place / "donor", place / SALT.lower(), method=SALT.lower(), seed=seed, progress=False
            )
        arms, references = _compare(place, made.plan, corpus, replace(budget.adaptation, seed=seed), workers, clock)
    result = {
        "arms": [arm.as_json() for arm in arms],
        "references": [reference.as_json() for reference in references],
        "anchors": made.report["anchors"],
        "rows": made.report["rows"],
        "support": made.report["support"],
        "text": {name: _sizes(texts) for name, texts in vars(corpus).items()},
        "budget": asdict(budget),
        "seed": seed,
        "threads": workers,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "seconds": {name: round(value, 2) for name, value in clock.seconds.items()},
        "seconds_in_all": round(time.perf_counter() - begun, 2),
    }
    (place / RESULT_FILE).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result, arms, references


def source_text(corpus: Corpus, target_share: float) -> list[str]:
    """The English text, and as much code that it makes up `target_share` of the whole in bytes."""
    wanted = _sizes(corpus.english)["bytes"] * target_share / (1 - target_share)
    taken = 0
    mixed = list(corpus.english)
    for document in corpus.code:
        if taken >= wanted:
            break
        mixed.append(document)
        taken += len(document.encode())
    return mixed


@dataclass(frozen=True)
class _Training:
    size: Size
    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    documents: Sequence[str]


def _train(training: _Training, seed: int, tell: Tell) -> None:
    size = training.size
    adapt(
        training.model,
        training.tokenizer,
        training.documents,
        steps=size.steps,
        tokens_per_step=size.tokens_per_step,
        lr=size.lr,
        seed=seed,
        context=size.context,
        progress=tell,
    )


def _compare(
    place: Path, plan: TransferPlan, corpus: Corpus, settings: Settings, workers: int, clock: Clock
) -> tuple[list[Outcome], list[Outcome]]:
    with clock.step("make the controls"):
        for name in CONTROLS:
            write_control(place / "source", place / SALT.lower(), control_plan(plan, name), place / name)
    with clock.step("measure and adapt"):
        arms = [open_candidate(name, place / name.lower()) for name in (*CONTROLS, SALT)]
        references = [open_candidate(f"{name} with its own tokenizer", place / name) for name in ("source", "donor")]
        jobs = [
            partial(_try, candidate, corpus, wanted)
            for group, wanted in ((arms, settings), (references, replace(settings, steps=0)))
            for candidate in group
        ]
        outcomes = together(jobs, workers=workers, advance=clock.advance)
    return outcomes[: len(arms)], outcomes[len(arms) :]


def _try(candidate: Candidate, corpus: Corpus, settings: Settings, tell: Tell) -> Outcome:
    return try_candidate(
        candidate, held_out=corpus.held_out_code, training=corpus.code, settings=settings, progress=tell
    )


def _print(result: dict[str, Any], arms: Sequence[Outcome], references: Sequence[Outcome], console: Console) -> None:
    budget, rows, text = result["budget"], result["rows"], result["text"]
    adaptation = budget["adaptation"]
    tokens = adaptation["steps"] * adaptation["tokens_per_step"]
    say(
        console,
        f"Source: {text['english']['bytes']:,} bytes of Python's documentation and {budget['target_share']:.0%} code; "
        f"donor: {text['code']['bytes']:,} bytes of code. The donor's {rows['total']:,} tokens: {rows['copied']:,} "
        f"shared, {rows['regressed']:,} regressed, {rows['sampled'] + rows['averaged']:,} other.",
    )
    console.print(
        rich_table(
            arms,
            references,
            title=f"Bits per byte on {arms[0].before.bytes:,} bytes of held-out code; lower is better",
            adapted=f"after {tokens:,} tokens",
        )
    )
    steps = ", ".join(f"{name} {value:.1f}" for name, value in result["seconds"].items())
    say(console, f"Seconds: {steps}; {result['seconds_in_all']:.1f} in all.")


def _sizes(texts: Sequence[str]) -> dict[str, int]:
    return {"documents": len(texts), "bytes": sum(len(text.encode()) for text in texts)}


@contextmanager
def _workplace(folder: Path | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="salt-demo-") as temporary:
            yield Path(temporary)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = any(folder.iterdir())
    except OSError as error:
        raise OutputError(f"the folder {folder} cannot be used: {error.strerror}") from error
    if occupied:
        raise OutputError(f"the folder {folder} is not empty; choose another one")
    yield folder
