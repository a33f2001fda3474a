"""`salt-ext methods`: the command, and what it prints."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from salt_ext.display.printing import PlainTable, console, last_words
from salt_ext.runtime.interruption import silent_end

if TYPE_CHECKING:
    from rich.console import Console

    from salt_ext.methods import Method


def methods() -> None:
    """List the methods: what a new token's row is, where that comes from, what it costs and needs."""
    with last_words():
        print_methods(console())


def print_methods(console: Console) -> None:
    """Prints every method with its source, cost, needs and options."""
    with silent_end():
        from salt_ext.methods.core.registry import method_class, method_names

    table = PlainTable("method", "a new token's row; source, cost, needs", "options", show_lines=True)
    table.columns[0].no_wrap = table.columns[2].no_wrap = True
    for name in method_names():
        made = method_class(name)
        info = made.info
        needs = ", ".join(info.needs) or "nothing"
        table.row(name, [info.summary, info.paper, f"cost: {info.cost}", f"needs: {needs}"], _options(made))
    console.print(table)


def _options(made: type[Method]) -> list[str]:
    """name=default of each option, one a line; without a default those that must be given."""
    from salt_ext.methods.core.registry import is_required

    shown = []
    for option in fields(made):  # type: ignore[arg-type]
        default = "?" if is_required(option) else option.default
        shown.append(f"{option.name}={default}")
    return shown
