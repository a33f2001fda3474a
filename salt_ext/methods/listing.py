"""The table of methods for the terminal."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from salt_ext.methods.material import Method
from salt_ext.methods.registry import method_class, method_names

if TYPE_CHECKING:
    from rich.console import Console


def print_methods(console: Console) -> None:
    """Prints every method with its source, cost, needs and options."""
    table = Table("method", "a new token's row", "source", "cost", "needs", "options", show_lines=True)
    for name in method_names():
        made = method_class(name)
        info = made.info
        needs = ", ".join(info.needs) or "nothing"
        table.add_row(name, *map(escape, (info.summary, info.paper, info.cost, needs, _options(made))))
    console.print(table)


def _options(made: type[Method]) -> str:
    """name=default of each option, one a line; without a default those that must be given."""
    shown = []
    for option in fields(made):  # type: ignore[arg-type]
        default = "?" if option.default is MISSING else option.default
        shown.append(f"{option.name}={default}")
    return "\n".join(shown)
