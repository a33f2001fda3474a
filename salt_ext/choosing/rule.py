"""The best that is known for what is given, without a look at the model.

Which methods those are was measured on SmolLM2-135M moved to German, to Vietnamese and to a WordPiece vocabulary,
before training and after an equal short one: `python_tests/benchmarks/real_llm`.
"""

from __future__ import annotations

# First what the rule takes. `mean` knows nothing of a token: what is no better has failed. Beside donor rows the
# weights of the pieces go by the language: equal ones in German and English; in Vietnamese, of whose text a source
# token covers 1.7 bytes and not 2.7, most for the first piece, with or without donor rows. Pieces alone do best by
# length: before training better than equal ones with seven of eight tokenizers and texts (by 0.002 to 0.092, worse
# by 0.027 with Mistral's), after it in both arms that were trained; most for the first piece is worse with six of them.
_WITH_ROWS = (
    "salt-plus",
    "mean",
    "subword",
    "salt-plus:pieces=length",
    "salt-plus:pieces=decayed",
    "salt-plus:ridge=1",
    "global:intercept=true",
    "focus",
)
_WITHOUT = ("subword:input=length", "mean", "subword", "subword:input=decayed")
CONTROL = "mean"
# Bytes of the text that a token of the source covers: 1.7 in Vietnamese, 2.7 in German, 4.2 in English.
_SMALL_PIECES = 2.2


def candidates(*, rows: bool) -> tuple[str, ...]:
    """The methods that a trial compares, the rule's own first.

    Args:
        rows: whether there are donor rows, or auxiliary vectors that stand in for them.
    """
    return _WITH_ROWS if rows else _WITHOUT


def rule(*, rows: bool, bytes_per_token: float | None = None) -> tuple[str, str]:
    """The method that is taken without a trial, and why.

    Args:
        rows: as for `candidates`.
        bytes_per_token: of the source's own tokenizer on a text in the new language; None where there is no text.
    """
    what = "donor rows (or vectors in their place) and pieces" if rows else "pieces alone"
    why = f"the best start and training on real models, of {what}"
    label = candidates(rows=rows)[0]
    if bytes_per_token is None or bytes_per_token > _SMALL_PIECES:
        return label, why
    small = f"as small as the source's here ({bytes_per_token:.2f} bytes a token)"
    weighed = "salt-plus:pieces=decayed" if rows else "subword:input=decayed"
    return weighed, f"{why} {small}, the first ones weighed most"
