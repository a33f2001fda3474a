"""The demonstration: two trainings, a transfer, and a call of compare."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from salt_ext.comparison.demo.corpus import Corpus, read_corpus
from salt_ext.comparison.demo.models import Size, build_model, save, train_tokenizer
from salt_ext.comparison.result import Comparison
from salt_ext.comparison.run import compare
from salt_ext.errors import OutputError
from salt_ext.evaluation import adapt
from salt_ext.pipeline import TransferResult, transfer
from salt_ext.runtime.machine import cpu_threads
from salt_ext.runtime.progress import Clock, Watching, watched

METHODS = "salt-plus,salt"


@dataclass(frozen=True)
class Budget:
    """What the demonstration spends; everything is counted, nothing is timed, so that results can be repeated.

    Attributes:
        train_bytes: text of each language to train on.
        held_out_bytes: code to measure on.
        target_share: of the source's text in the target language, in bytes, as a real source has seen a little of it.
        source: the source's shape and training.
        donor: the donor's.
        adapt: tokens that every moved model is trained on.
        lr: of that training.
    """

    train_bytes: int
    held_out_bytes: int
    target_share: float
    source: Size
    donor: Size
    adapt: int
    lr: float


# The donor's table is several times wider (192) than a new token has neighbours (about 40): where the two come close,
# as with a narrow donor or a vocabulary of 4,096, regressions without a ridge fit noise and SALT's rows grow too long.
A_MINUTE = Budget(
    train_bytes=1_200_000,
    held_out_bytes=60_000,
    target_share=0.05,
    source=Size(vocabulary=2048, hidden=128, layers=2, steps=120, tokens_per_step=2048, context=128, lr=5e-3),
    donor=Size(vocabulary=2048, hidden=192, layers=1, steps=90, tokens_per_step=2048, context=128, lr=5e-3),
    adapt=16_384,
    lr=1e-3,
)


@dataclass(frozen=True)
class Demonstration:
    """What the demonstration made.

    Attributes:
        transferred: the moved model, with the method that a transfer takes by default.
        comparison: of methods, each measured before and after a short training.
        english: bytes of text that the source learned, code not counted.
        code: bytes of text that the donor learned.
        seconds: wall time by step.
    """

    transferred: TransferResult
    comparison: Comparison
    english: int
    code: int
    seconds: dict[str, float]


def run(folder: Path | None, *, seed: int = 0, progress: Watching = None, budget: Budget = A_MINUTE) -> Demonstration:
    """Trains a source and a donor, moves one to the other's tokenizer, and compares methods.

    The source learns English documentation with a little code, the donor learns code; both are written as ordinary
    model folders and go through `salt_ext.transfer` and `salt_ext.compare`. One CPU thread, which models this small are
    fastest with; equal seed, Python, torch and kind of CPU give equal figures.

    Args:
        folder: where to keep source, donor, moved model and comparison; must be missing or empty. None for a temporary
            one.
        seed: of weights and order of text.
        progress: see `salt_ext.transfer`.
        budget: sizes.

    Raises:
        InputError: Python comes without the sources of its library.
        OutputError: the folder holds something, or cannot be written.
    """
    with cpu_threads(1), _workplace(folder) as place, watched(progress) as callback:
        clock = Clock(callback)
        with clock.step("read the text"):
            corpus = read_corpus(train_bytes=budget.train_bytes, held_out_bytes=budget.held_out_bytes)
            learned = {"source": source_text(corpus, budget.target_share), "donor": corpus.code}
        for number, (name, documents) in enumerate(learned.items()):
            size: Size = getattr(budget, name)
            with clock.step(f"train the {name}"):
                tokenizer = train_tokenizer(documents, size.vocabulary)
                _train(size, tokenizer, documents, place / name, seed + number, clock)
        with clock.step("transfer"):
            made = transfer(place / "source", place / "donor", place / "moved", seed=seed, progress=False)
        with clock.step("compare methods"):
            comparison = compare(
                place / "source",
                place / "donor",
                METHODS,
                text=[_as_lines(corpus.held_out_code, place / "held_out.txt")],
                adapt=budget.adapt,
                adapt_text=[_as_lines(corpus.code, place / "training.txt")],
                lr=budget.lr,
                progress=False,
                output=place / "comparison",
            )
    return Demonstration(made, comparison, _bytes(corpus.english), _bytes(corpus.code), clock.seconds)


def source_text(corpus: Corpus, target_share: float) -> list[str]:
    """The English text, and as much code that it makes up `target_share` of the whole in bytes."""
    wanted = _bytes(corpus.english) * target_share / (1 - target_share)
    taken = 0
    mixed = list(corpus.english)
    for document in corpus.code:
        if taken >= wanted:
            break
        mixed.append(document)
        taken += len(document.encode())
    return mixed


def _train(
    size: Size, tokenizer: PreTrainedTokenizerFast, documents: Sequence[str], folder: Path, seed: int, clock: Clock
) -> None:
    model = build_model(tokenizer, size, seed)
    adapt(
        model,
        tokenizer,
        documents,
        steps=size.steps,
        tokens_per_step=size.tokens_per_step,
        lr=size.lr,
        seed=seed,
        context=size.context,
        progress=clock.advance,
    )
    save(model, tokenizer, folder)


def _as_lines(documents: Sequence[str], file: Path) -> Path:
    """A file for compare, to which every line is a document."""
    file.write_text("\n".join(documents) + "\n", encoding="utf-8")
    return file


def _bytes(texts: Sequence[str]) -> int:
    return sum(len(text.encode()) for text in texts)


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
