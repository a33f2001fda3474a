"""What `auto` chose, why, and what it tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Tried:
    """One candidate.

    Attributes:
        method: with its options, as `salt_ext.compare` takes them.
        bits_per_byte: of the moved model on the sample; None where it was not measured.
        trained: the same after the short training; None where it had none.
        note: why it went no further; empty where it went all the way.
    """

    method: str
    bits_per_byte: float | None = None
    trained: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Decision:
    """A choice of `auto`.

    Attributes:
        method: with its options, as `salt_ext.compare` takes them.
        why: one sentence.
        tried: every candidate, in the order of the trial; empty where the rule alone decided.
        facts: of the text and the trial; JSON values.
        warnings: sentences for the user.
    """

    method: str
    why: str
    tried: tuple[Tried, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "method": self.method,
            "why": self.why,
            "tried": [asdict(each) for each in self.tried],
            **self.facts,
        }
