"""Which anchors say how long a new row should be: those that are text and trained; and whose script is whose."""

from __future__ import annotations

import unicodedata
from collections import Counter
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from salt_ext.methods.core.anchor_filters import undertrained
from salt_ext.methods.core.inputs import MethodInputs
from salt_ext.plan import Norms
from salt_ext.vocab import Form

_NO_SCRIPT = ""


class NormParts(TypedDict):
    """What `Combinations` hold of norms."""

    norms: Norms
    norm_anchors: npt.NDArray[np.int64] | None
    norm_groups: npt.NDArray[np.int64] | None


def norm_parts(material: MethodInputs, kind: str) -> NormParts:
    """How new rows are scaled, and by which anchors.

    Bytes, special tokens and rows that training hardly touched have norms of their own (a small model's control
    characters three times those of its text), and a mean over all copied rows makes every new row too long.

    Args:
        material: of the method.
        kind: a value of `Norms`.

    Raises:
        InputError: the source's table has too few rows.
    """
    norms = Norms(kind)
    if norms is Norms.KEPT:
        return NormParts(norms=norms, norm_anchors=None, norm_groups=None)
    anchors = material.anchors.only(material.text_anchors)
    trained = ~undertrained(material.source_table, material.source, material.placement)[anchors.source_ids]
    groups = None
    if norms is Norms.SCRIPT:
        scripts = [script_of(form) for form in material.target.forms]
        numbers = {script: number for number, script in enumerate(sorted(set(scripts)))}
        groups = np.array([numbers[script] for script in scripts], dtype=np.int64)
    return NormParts(norms=norms, norm_anchors=np.sort(anchors.target_ids[trained]), norm_groups=groups)


def script_of(form: Form | None) -> str:
    """The script of most of a token's letters, such as "LATIN" or "HANGUL": the first word of their Unicode names.

    Digits, marks, parts of characters and special tokens have none, the empty one.
    """
    try:
        text = "" if form is None else form.data.decode("utf-8")
    except UnicodeDecodeError:
        return _NO_SCRIPT
    found = Counter(unicodedata.name(letter, _NO_SCRIPT).partition(" ")[0] for letter in text if letter.isalpha())
    return found.most_common(1)[0][0] if found else _NO_SCRIPT
