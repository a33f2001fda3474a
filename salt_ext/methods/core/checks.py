"""What options of several methods have to be."""

from __future__ import annotations

import math

from salt_ext.errors import InputError
from salt_ext.methods.core.neighbours import Neighbours


def check_positive(name: str, value: float) -> None:
    """Raises InputError unless a number is finite and above 0."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} is {value}, expected a finite number above 0")


def check_not_negative(name: str, value: float) -> None:
    """Raises InputError unless a number is finite and at least 0."""
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{name} is {value}, expected a finite number of at least 0")


def check_share(name: str, value: float) -> None:
    """Raises InputError unless a number lies between 0 and 1, both included."""
    if not 0 <= value <= 1:
        raise InputError(f"{name} is {value}, expected a number from 0 to 1")


def check_count(name: str, value: int) -> None:
    """Raises InputError unless a number is whole and at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} is {value}, expected a whole number of at least 1")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises InputError unless a word is one of the choices."""
    if value not in choices:
        raise InputError(f"{name} is {value!r}, expected {' or '.join(choices)}")


def check_enough_keys(name: str, wanted: int, neighbours: Neighbours) -> None:
    """Raises InputError where tokens are to be made of more source tokens than there are.

    Args:
        name: of the option that says how many.
        wanted: how many.
        neighbours: with the source tokens that can serve.
    """
    found = len(neighbours.key_sources)
    if len(neighbours.new) and wanted > found:
        raise InputError(f"{name} is {wanted}, but only {found} source tokens can explain others: pass {found} or less")
