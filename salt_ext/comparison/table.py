"""What a person is shown of a comparison: title, cells, notes; as HTML in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salt_ext.display.notebook import html_table

if TYPE_CHECKING:
    from salt_ext.comparison.result import Comparison, Metric, Row


def html_comparison(comparison: Comparison) -> str:
    """The comparison as HTML, for a notebook."""
    headings = ("method", *(metric.heading for metric in comparison.metrics))
    below = [*notes(comparison), *(f"warning: {warning}" for warning in comparison.warnings)]
    return html_table(title(comparison), headings, rows(comparison), below)


def figure(row: Row, metric: Metric) -> str:
    """Mean, and ± the standard deviation where there is one."""
    mean, std = row.mean(metric.key), row.std(metric.key)
    if mean is None:
        return ""
    text = f"{mean / metric.scale:.{metric.digits}f}"
    return text if std is None else f"{text} ± {std / metric.scale:.{metric.digits}f}"


def title(comparison: Comparison) -> str:
    facts = comparison.facts
    seeds = len(facts["seeds"])
    adapted = f", adapted on {facts['adaptation']['tokens']:,} tokens" if facts["adaptation"] else ""
    spread = f"; mean ± standard deviation of {seeds} seeds" if seeds > 1 else ""
    return f"{facts['text']['bytes']:,} bytes of text{adapted}{spread}"


def rows(comparison: Comparison) -> list[list[str]]:
    return [[row.method, *(figure(row, metric) for metric in comparison.metrics)] for row in comparison.rows]


def notes(comparison: Comparison) -> list[str]:
    facts = comparison.facts
    return [
        *(f"{metric.heading}: {metric.meaning}" for metric in comparison.metrics),
        f"The source with its own tokenizer: {comparison.source_bits_per_byte:.3f} bits per byte. "
        f"{facts['anchors']:,} anchors, {facts['new_tokens']:,} new tokens; {facts['seconds_in_all']:.1f} s in all.",
    ]
