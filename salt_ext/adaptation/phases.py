"""The phases of a training: what learns, and on how many tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from salt_ext.errors import InputError

ROWS, VOCABULARY, ALL = "rows", "vocabulary", "all"
_KINDS = (ROWS, VOCABULARY, ALL)
# Of a budget for both phases, what the tables get before the body may move.
_VOCABULARY_SHARE = 0.2
_EXPECTED = "expected NAME=TOKENS or NAME=TOKENS@LR, such as vocabulary=1000000,all=4000000@1e-4"


@dataclass(frozen=True)
class Phase:
    """A part of a training, with a warm-up, a cosine and an optimizer of its own.

    Attributes:
        trains: "rows" for the rows of new tokens alone, "vocabulary" for input table and head, "all" for all weights
            (with LoRA: both tables and the adapters of the body).
        tokens: how many are read; rounded down to whole steps.
        lr: the highest learning rate; None for that of all phases.

    Raises:
        InputError: a value is out of its range.
    """

    trains: str
    tokens: int
    lr: float | None = None

    def __post_init__(self) -> None:
        if self.trains not in _KINDS:
            near = get_close_matches(str(self.trains), _KINDS, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise InputError(f"phase {self.trains!r} does not exist, expected one of {', '.join(_KINDS)}{hint}")
        if isinstance(self.tokens, bool) or not isinstance(self.tokens, int) or self.tokens < 1:
            raise InputError(f"phase {self.trains} has {self.tokens} tokens, expected a whole number of at least 1")
        if self.lr is not None and not 0 < self.lr < 1:
            raise InputError(f"phase {self.trains} has the learning rate {self.lr}, expected a number between 0 and 1")


def parse_phases(written: str) -> tuple[Phase, ...]:
    """Phases as the command line has them: NAME=TOKENS[@LR], separated by commas.

    Raises:
        InputError: it is not of this form.
    """
    return tuple(_parse(part.strip()) for part in written.split(","))


def phases_of(tokens: int | None, phases: str | Iterable[Phase] | None) -> tuple[Phase, ...]:
    """The phases of a training: those given, else a fifth of the tokens for the tables and the rest for all weights.

    Raises:
        InputError: not exactly one of the two is given, a value is out of its range, or there is no phase.
    """
    if (tokens is None) == (phases is None):
        given = "neither" if tokens is None else "both"
        raise InputError(f"{given} of tokens and phases given, expected one: how many tokens are to be read")
    if phases is None:
        assert tokens is not None
        first = int(tokens * _VOCABULARY_SHARE)
        return (Phase(VOCABULARY, first), Phase(ALL, tokens - first))
    found = parse_phases(phases) if isinstance(phases, str) else tuple(phases)
    if not found or not all(isinstance(phase, Phase) for phase in found):
        raise InputError(f"phases is {phases!r}, expected at least one Phase")
    return found


def _parse(part: str) -> Phase:
    name, equals, budget = part.partition("=")
    tokens, at, lr = budget.partition("@")
    try:
        if equals:
            return Phase(name.strip(), int(tokens), float(lr) if at else None)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
    raise InputError(f"phases has {part!r}, {_EXPECTED}")
