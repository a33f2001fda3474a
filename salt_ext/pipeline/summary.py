"""What a person wants to see of a finished transfer, on a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salt_ext.display.notebook import html_table
from salt_ext.pair.left_out import left_out_sentences
from salt_ext.plan import Provenance

_SHOWN_FILES = 10


def html_summary(report: Mapping[str, Any], output: Path) -> str:
    """The same as HTML."""
    notes = [*figures(report), *(f"warning: {warning}" for warning in report["warnings"])]
    return html_table(output, ("rows", "count", "share"), row_counts(report), notes)


def row_counts(report: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows, total = report["rows"], max(1, report["rows"]["total"])
    kinds = (kind.name.lower() for kind in Provenance)
    return [(kind, f"{rows[kind]:,}", f"{rows[kind] / total:.1%}") for kind in kinds]


def figures(report: Mapping[str, Any]) -> list[str]:
    classes = ", ".join(f"{count:,} {kind}" for kind, count in report["anchors"]["by_class"].items())
    figures = [f"anchors: {classes}"]
    support = report["support"]
    if support["size"] is not None:
        size, residual, weight = support["size"], support["residual"], support["weight_l1"]
        missing = "" if residual is None else f"residual: median {residual['median']:.3f}; "
        figures.append(
            f"source tokens per new token: median {size['median']:.0f}, 5 % to 95 %: {size['p05']:.0f} to "
            f"{size['p95']:.0f}; {missing}\u2016w\u2016\u2081: median {weight['median']:.2f}"
        )
    for name, norms in report["norms"].items():
        if norms["ratio"] is not None:
            new, old = norms["regressed"]["mean"], norms["source_anchors"]["mean"]
            figures.append(f"norms of {name}: new rows {new:.3f}, anchors {old:.3f}, ratio {norms['ratio']:.2f}")
    trial = (report["choice"] or {}).get("seconds", 0.0)
    seconds, memory = sum(report["seconds"].values()) - trial, report["peak_memory_bytes"]
    before = report["peak_memory_before_check_bytes"]
    devices = ", then ".join(dict.fromkeys(report["machine"]["ops_ran_on"].values()))
    figures.append(
        f"{report['method']['name']}: {seconds:.1f} s on {devices}, peak memory {memory / 1e6:,.0f} MB"
        f" ({before / 1e6:,.0f} MB before the check of the output)"
    )
    if (choice := report["choice"]) is not None:
        took = f" ({trial:.1f} s of trial)" if trial else ""
        figures.append(f"method {choice['method']}, {choice['why']}{took}")
    return [*figures, *left_out_sentences(report["tokenizer"]["left_out"])]
