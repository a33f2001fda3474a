"""The table of methods for the terminal."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from salt_ext.methods.material import Method
from salt_ext.methods.registry import is_required, method_class, method_names

if TYPE_CHECKING:
    from rich.console import Console


def print_methods(console: Console) -> None:
    """Prints every method with its source, cost, needs and options."""
    table = Table(show_lines=True)
    table.add_column("method", no_wrap=True)
    table.add_column("a new token's row; source, cost, needs")
    table.add_column("options", no_wrap=True)
    for name in method_names():
        made = method_class(name)
        info = made.info
        needs = ", ".join(info.needs) or "nothing"
        told = f"{info.summary}\n{info.paper}\ncost: {info.cost}\nneeds: {needs}"
        table.add_row(*map(escape, (name, told, _options(made))))
    console.print(table)


def _options(made: type[Method]) -> str:
    """name=default of each option, one a line; without a default those that must be given."""
    shown = []
    for option in fields(made):  # type: ignore[arg-type]
        default = "?" if is_required(option) else option.default
        shown.append(f"{option.name}={default}")
    return "\n".join(shown)
