"""The windows that each phase reads, mixed from the two languages, in an order that hangs on the seed alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from salt_ext.errors import InputError

if TYPE_CHECKING:
    from salt_ext.adaptation.corpus import Corpus
    from salt_ext.adaptation.run import Run


def phase_windows(run: Run, corpus: Corpus, source: Corpus | None) -> list[Any]:
    """A data set for each phase, whole steps of it.

    Windows are dealt out phase by phase, none twice while there are new ones; a phase that needs more than are left
    gets all of them and reads them more than once.

    Args:
        run: the training.
        corpus: in the new language.
        source: in the source's, of which a share is replayed.

    Raises:
        InputError: a text does not fill one step.
    """
    import datasets

    replay = run.options.replay if source is not None else 0.0
    needed = [run.steps(number) * run.windows_per_step for number in range(1, len(run.options.all_phases) + 1)]
    replayed = [round(replay * count) for count in needed]
    own = [count - other for count, other in zip(needed, replayed, strict=True)]
    parts = [_dealt(corpus, own, run, "text")]
    if source is not None and replay:
        parts.append(_dealt(source, replayed, run, "source_text"))
    found = []
    for each in zip(*parts, strict=True):
        whole = each[0] if len(each) == 1 else datasets.concatenate_datasets(list(each))
        found.append(whole.select(range(len(whole) // run.windows_per_step * run.windows_per_step)))
    return found


def _dealt(corpus: Corpus, needed: list[int], run: Run, what: str) -> list[Any]:
    have = 0 if corpus.windows is None else len(corpus.windows)
    if have < run.windows_per_step:
        raise InputError(
            f"{what} fills {have} windows of {run.context} tokens (context), fewer than the {run.windows_per_step} of "
            f"one step (tokens_per_step is {run.tokens_per_step}): give more text, or make the step smaller"
        )
    order = np.random.default_rng(run.args.seed).permutation(have)
    dealt, begin = [], 0
    for count in needed:
        if begin + count <= have:
            dealt.append(corpus.windows.select(order[begin : begin + count]))
            begin += count
        else:
            dealt.append(corpus.windows.select(order))
    return dealt
