"""Names in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 5


def listed(names: Sequence[str], shown: int = _SHOWN) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
