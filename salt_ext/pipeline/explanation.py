"""Why a row of a transferred model is what it is: its provenance, its source tokens and their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from salt_ext.checkpoint.names import PLAN_FILE
from salt_ext.errors import InputError
from salt_ext.files.json_text import read_json
from salt_ext.files.paths import expanded
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.vocab import Vocabulary, load_tokenizer
from salt_ext.vocab.vocabulary import written_id


@dataclass(frozen=True)
class Explanation:
    """One row of a plan.

    Attributes:
        target_id: the row.
        token: what the token writes; None for an id without a token.
        provenance: how the row was made.
        sources: (source id, what it writes, weight), the largest magnitude first.
        residual: ||q - wA|| / ||q|| in donor space, None where there was no regression.
        mapped_from: source rows that a dense map of the plan makes this row of, on top of `sources`; 0 without one.
        learned: (windows of text that it was seen in, what it moved by over its norm) of a distillation; None without.
    """

    target_id: int
    token: str | None
    provenance: Provenance
    sources: list[tuple[int, str | None, float]]
    residual: float | None
    mapped_from: int
    learned: tuple[int, float] | None


def explain(output: str | Path, tokens: Sequence[str]) -> list[Explanation]:
    """Looks up tokens in the plan that lies beside a transferred model.

    Args:
        output: the model's folder.
        tokens: each a token's spelling in the tokenizer's own alphabet, the text that it writes (with or without the
            space of a new word: all tokens that fit are explained), or #id.

    Raises:
        InputError: the folder has no plan or no tokenizer, or a token is not in its vocabulary.
    """
    folder = expanded(output)
    if not (folder / PLAN_FILE).is_file():
        raise InputError(f"{folder} has no {PLAN_FILE}; expected the output folder of salt-ext transfer")
    plan = TransferPlan.load(folder / PLAN_FILE)
    vocabulary = Vocabulary.from_tokenizer(load_tokenizer(folder), name=str(folder))
    if vocabulary.size > plan.target_rows:
        raise InputError(f"{folder}: its tokenizer has {vocabulary.size} ids, its plan only {plan.target_rows} rows")
    names = source_tokens(plan, folder)
    return [_explain(plan, vocabulary, names, number) for token in tokens for number in find_token(vocabulary, token)]


def find_token(vocabulary: Vocabulary, wanted: str) -> list[int]:
    """The ids that a user may mean by a word: #id, else the exact spelling, else every token that writes it.

    Raises:
        InputError: there is none.
    """
    if wanted[:1] == "#" and wanted[1:].isascii() and wanted[1:].isdecimal():
        number = written_id(wanted)
        if number is None or number >= vocabulary.size:
            raise InputError(f"token {wanted:.40}: there is no such id, expected #0 to #{vocabulary.size - 1}")
        return [number]
    if wanted in vocabulary.tokens:
        return [vocabulary.tokens.index(wanted)]
    data = wanted.encode("utf-8", "surrogateescape")
    found = [n for n, form in enumerate(vocabulary.forms) if form is not None and data in (form.data, form.written)]
    if not found:
        raise InputError(f"token {wanted!r:.200} is not in the vocabulary of {vocabulary.name}")
    return found


def _explain(plan: TransferPlan, vocabulary: Vocabulary, names: list[str | None], number: int) -> Explanation:
    provenance = Provenance(int(plan.provenance[number]))
    residual, low_rank = float(plan.residual[number]), plan.low_rank
    return Explanation(
        target_id=number,
        token=vocabulary.readable(number),
        provenance=provenance,
        sources=[(source, names[source], weight) for source, weight in plan.explain(number)],
        residual=residual if residual == residual else None,
        mapped_from=len(low_rank.columns) if low_rank is not None and bool((low_rank.rows == number).any()) else 0,
        learned=_learned(plan, number),
    )


def _learned(plan: TransferPlan, number: int) -> tuple[int, float] | None:
    place = [] if plan.dense is None else (plan.dense.rows == number).nonzero().flatten().tolist()
    if plan.dense is None or not place:
        return None
    return int(plan.dense.snippets[place[0]]), float(plan.dense.moved[place[0]])


def source_tokens(plan: TransferPlan, folder: Path) -> list[str | None]:
    """What each token of the source writes, as the plan of a model's folder has it; None for an id without a token.

    Raises:
        InputError: it does not.
    """
    try:
        names = read_json(plan.metadata.get("source_tokens", "null"))
    except ValueError:
        names = None
    named = isinstance(names, list) and all(name is None or isinstance(name, str) for name in names)
    if not named or len(names) != plan.source_rows:
        raise InputError(f"{folder / PLAN_FILE} does not name the {plan.source_rows} tokens of its source")
    found: list[str | None] = names
    return found
