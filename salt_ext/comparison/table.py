"""The comparison on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from salt_ext.comparison.result import Comparison, Metric, Row

if TYPE_CHECKING:
    from rich.console import Console


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Prints the table, what its columns mean, and the warnings."""
    facts = comparison.facts
    table = Table(title=_title(comparison), title_justify="left")
    table.add_column("method", overflow="fold")
    for metric in comparison.metrics:
        table.add_column(metric.heading, justify="right", min_width=len(metric.heading))
    for row in comparison.rows:
        table.add_row(escape(row.method), *(figure(row, metric) for metric in comparison.metrics))
    console.print(table)
    for metric in comparison.metrics:
        console.print(f"{metric.heading}: {metric.meaning}", highlight=False)
    console.print(
        f"The source with its own tokenizer: {comparison.source_bits_per_byte:.3f} bits per byte. "
        f"{facts['anchors']:,} anchors, {facts['new_tokens']:,} new tokens; {facts['seconds_in_all']:.1f} s in all.",
        highlight=False,
    )
    for warning in comparison.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False)


def figure(row: Row, metric: Metric) -> str:
    """Mean, and ± the standard deviation where there is one."""
    mean, std = row.mean(metric.key), row.std(metric.key)
    if mean is None:
        return "-"
    text = f"{mean / metric.scale:.{metric.digits}f}"
    return text if std is None else f"{text} ± {std / metric.scale:.{metric.digits}f}"


def _title(comparison: Comparison) -> str:
    facts = comparison.facts
    seeds = len(facts["seeds"])
    adapted = f", adapted on {facts['adaptation']['tokens']:,} tokens" if facts["adaptation"] else ""
    spread = f"; mean ± standard deviation of {seeds} seeds" if seeds > 1 else ""
    return f"{facts['text']['bytes']:,} bytes of text{adapted}{spread}"
