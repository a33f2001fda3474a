"""The comparison as a table, for the terminal and for Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from salt_ext.demo.arms import Outcome
from salt_ext.display.printing import PlainTable


def rich_table(arms: Sequence[Outcome], references: Sequence[Outcome], *, title: str, adapted: str) -> PlainTable:
    """Bits per byte by initialisation; lower is better. `adapted` names the second column of figures."""
    table = PlainTable("model", "at once", adapted, title=title)
    table.columns[1].justify = table.columns[2].justify = "right"
    for group in (arms, references):
        for outcome in group:
            table.row(outcome.name, *_figures(outcome))
        table.add_section()
    return table


def markdown_table(arms: Sequence[Outcome], references: Sequence[Outcome], *, adapted: str | None) -> str:
    """The same as Markdown; without the second column of figures if `adapted` is None.

    A line below names the models whose tokenizer alters text: they code less than their figure is divided by.
    """
    columns = ["model", "bits per byte at once", *([adapted] if adapted else [])]
    lines = [_line(columns), _line(["---", *(["---:"] * (len(columns) - 1))])]
    lines += [_line([outcome.name, *_figures(outcome)][: len(columns)]) for outcome in (*arms, *references)]
    altering = [f"{o.name} ({o.before.altered} documents)" for o in (*arms, *references) if o.before.altered]
    if altering:
        lines += ["", f"Too good, since the tokenizer alters text: {', '.join(altering)}."]
    return "\n".join(lines)


def _figures(outcome: Outcome) -> tuple[str, str]:
    scores = (outcome.before, outcome.after)
    return tuple("-" if score is None else f"{score.bits_per_byte:.3f}" for score in scores)  # type: ignore[return-value]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
