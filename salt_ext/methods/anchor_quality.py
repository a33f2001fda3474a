"""Anchors that had better not explain others: undertrained ones and false friends. They are copied all the same.

Undertrained: a row that training hardly touched says nothing of its token. Where a table has rows that no text can
reach (padding, ids without a token, bytes that UTF-8 never uses), they show what such a row looks like: usually all of
them point one way (Land & Bartolo 2024, section 3.2). Apart from that, norms far outside the others' give them away.

False friends: tokens spelt alike that mean something else in the other language. One affine map from donor rows to
source rows is fitted on all anchors but the one in question; what it makes of that one points away from the source's
row.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext.methods import affine_map
from salt_ext.methods.cross_validation import centred_cosines
from salt_ext.methods.material import Material
from salt_ext.methods.neighbours import nonzero_rows
from salt_ext.vocab import Vocabulary

DOUBTS = ("none", "undertrained", "false-friends", "both")
# The kind that doubtful anchors get: none of those that explain others, none of those that no method may make.
_DOUBTFUL = "doubtful"
_NEVER_IN_TEXT = frozenset([0xC0, 0xC1, *range(0xF5, 0x100)])
# Of small models that we looked at, unreachable rows agree within 0.01, and rows with a cosine above this to them have
# two to three times the others' norm.
_LIKE_UNREACHABLE = 0.9
_OUTLYING = 6.0  # deviations of the logarithm of the norm, by the median absolute deviation
_DEVIATION_PER_MAD = 1.4826  # of a normal distribution
_RIDGE = 1.0  # of the map that finds false friends, as in the preset
_LISTED = 50


def without_doubtful_anchors(material: Material, doubts: str) -> tuple[Material, dict[str, Any]]:
    """The material whose doubtful anchors explain no others, and a list of them for the report.

    Args:
        material: of the method.
        doubts: one of `DOUBTS`.

    Raises:
        InputError: a table has too few rows.
    """
    anchors, text = material.anchors, np.flatnonzero(material.text_anchors)
    facts: dict[str, Any] = {}
    if doubts in ("undertrained", "both"):
        targets, sources = anchors.target_ids[text], anchors.source_ids[text]
        bad = undertrained(material.source_table, material.source)[sources]
        bad |= undertrained(material.donor, material.target)[targets]
        facts["undertrained"] = _listed(material, text[bad])
        text = text[~bad]
    if doubts in ("false-friends", "both"):
        bad = false_friends(material, text)
        facts["false friends"] = _listed(material, text[bad])
        text = text[~bad]
    kinds = np.where(material.text_anchors, _DOUBTFUL, anchors.kinds)
    kinds[text] = anchors.kinds[text]
    return replace(material, anchors=replace(anchors, kinds=kinds)), facts


def undertrained(table: Tensor, vocabulary: Vocabulary) -> npt.NDArray[np.bool_]:
    """The tokens whose rows look untrained: bool [vocabulary.size].

    Args:
        table: floating [vocabulary.size or more, h]; rows of zeros are not looked at.
        vocabulary: what its rows stand for.
    """
    size = vocabulary.size
    reachable = np.array([_can_be_read(vocabulary, number) for number in range(size)], dtype=bool)
    beyond = np.ones(table.shape[0] - size, dtype=bool)
    there = nonzero_rows(table, table.shape[0])
    known = torch.from_numpy(np.flatnonzero(there[:size] & reachable))
    bad = np.zeros(size, dtype=bool)
    if not len(known):
        return bad
    rows = table[known].double()
    centre, norms = rows.mean(dim=0), rows.norm(dim=1).log()
    deviation = (norms - norms.median()).abs()
    outlying = deviation > _OUTLYING * _DEVIATION_PER_MAD * deviation.median()
    unreachable = torch.from_numpy(np.flatnonzero(there & np.concatenate([~reachable, beyond])))
    if len(unreachable):
        examples = table[unreachable].double()
        direction = examples.mean(dim=0)
        agreement = centred_cosines(examples, direction.expand_as(examples), centre)
        if float(agreement.median()) > _LIKE_UNREACHABLE:
            outlying |= centred_cosines(rows, direction.expand_as(rows), centre) > _LIKE_UNREACHABLE
    bad[known[outlying].numpy()] = True
    return bad


def false_friends(material: Material, text: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which anchors the others' map puts at an obtuse angle to their own row, around the mean: bool [n].

    Args:
        material: of the method.
        text: int64 [n], places of the anchors to look at, on which the map is fitted.

    Raises:
        InputError: a table has too few rows, or there is no anchor.
    """
    anchors = material.anchors
    donor = material.donor[torch.from_numpy(anchors.target_ids[text])]
    rows = material.source_table[torch.from_numpy(anchors.source_ids[text])].double()
    made = affine_map.fit(donor, ridge=_RIDGE).left_out(donor, rows)
    cosines = centred_cosines(made, rows, rows.mean(dim=0))
    return (cosines < 0).numpy()


def _can_be_read(vocabulary: Vocabulary, number: int) -> bool:
    """Whether some text has this token."""
    form = vocabulary.forms[number]
    if form is None:  # a special token may be untrained or not: it is no example
        return vocabulary.tokens[number] is not None
    return not (len(form.written) == 1 and form.written[0] in _NEVER_IN_TEXT)


def _listed(material: Material, places: npt.NDArray[np.int64]) -> dict[str, Any]:
    first = material.anchors.target_ids[places[:_LISTED]].tolist()
    return {"count": len(places), "first": [material.target.readable(number) for number in first]}
