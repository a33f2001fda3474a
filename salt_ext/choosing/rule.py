"""The best that is known for what is given, without a look at the model.

Which methods those are was measured on SmolLM2-135M moved to German, to Vietnamese and to a WordPiece vocabulary, at
once and after an equal short training: `python_tests/benchmarks/real_llm`.
"""

from __future__ import annotations

# First what the rule takes. `mean` knows nothing of a token: what is no better has failed. Which weights of the pieces
# are best goes by the language: in German equal ones, in Vietnamese, of whose text a source token covers 1.7 bytes and
# not 2.7, the first piece's at once, and the longest one's after a training.
_WITH_ROWS = (
    "salt-plus",
    "mean",
    "salt-plus:pieces=length",
    "salt-plus:pieces=decayed",
    "global:intercept=true",
    "focus",
    "subword",
)
_WITHOUT = ("subword", "mean", "subword:input=length;head=length", "transplant-vocab")
CONTROL = "mean"


def candidates(*, rows: bool) -> tuple[str, ...]:
    """The methods that a trial compares, the rule's own first.

    Args:
        rows: whether there are donor rows, or auxiliary vectors that stand in for them.
    """
    return _WITH_ROWS if rows else _WITHOUT


def rule(*, rows: bool) -> tuple[str, str]:
    """The method that is taken without a trial, and why.

    Args:
        rows: as for `candidates`.
    """
    known = "the rows of the donor or its stand-in correct" if rows else "nothing but the source's own pieces tells of"
    why = f"{known} what a new token means, and on real models this starts and trains best"
    return candidates(rows=rows)[0], why
