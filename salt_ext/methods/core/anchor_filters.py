"""Anchors that had better not explain others: undertrained ones. They are copied all the same.

A row that training hardly touched says nothing of its token. Where a table has rows that no text can
reach (padding, ids without a token, bytes that UTF-8 never uses), they show what such a row looks like: usually all of
them point one way (Land & Bartolo 2024, section 3.2). Apart from that, norms far outside the others' give them away.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext.methods.core.inputs import MethodInputs
from salt_ext.methods.core.neighbours import nonzero_rows
from salt_ext.runtime.device import Placement
from salt_ext.vocab import Vocabulary

ANCHOR_FILTERS = ("none", "undertrained")
# The kind that filtered anchors get: none of those that explain others, none of those that no method may make.
_FILTERED = "filtered"
_NEVER_IN_TEXT = frozenset([0xC0, 0xC1, *range(0xF5, 0x100)])
# Of small models that we looked at, unreachable rows agree within 0.01, and rows with a cosine above this to them have
# two to three times the others' norm.
_LIKE_UNREACHABLE = 0.9
_OUTLYING = 6.0  # deviations of the logarithm of the norm, by the median absolute deviation
_DEVIATION_PER_MAD = 1.4826  # of a normal distribution
_LISTED = 50
_STEP = "anchor filter"
_BLOCK = 4096


def filter_anchors(material: MethodInputs, kind: str) -> tuple[MethodInputs, dict[str, Any]]:
    """The material whose filtered anchors explain no others, and a list of them for the report.

    Args:
        material: of the method.
        kind: one of `ANCHOR_FILTERS`.

    Raises:
        InputError: a table has too few rows.
    """
    anchors, text = material.anchors, np.flatnonzero(material.text_anchors)
    facts: dict[str, Any] = {}
    if kind == "undertrained":
        targets, sources = anchors.target_ids[text], anchors.source_ids[text]
        bad = undertrained(material.source_table, material.source, material.placement)[sources]
        bad |= undertrained(material.donor, material.target, material.placement)[targets]
        facts["undertrained"] = _listed(material, text[bad])
        text = text[~bad]
    kinds = np.where(material.text_anchors, _FILTERED, anchors.kinds)
    kinds[text] = anchors.kinds[text]
    return replace(material, anchors=replace(anchors, kinds=kinds)), facts


def undertrained(table: Tensor, vocabulary: Vocabulary, placement: Placement | None = None) -> npt.NDArray[np.bool_]:
    """The tokens whose rows look untrained: bool [vocabulary.size].

    Args:
        table: floating [vocabulary.size or more, h]; rows of zeros are not looked at.
        vocabulary: what its rows stand for.
        placement: where the work is done, the CPU if not given.
    """
    size = vocabulary.size
    reachable = np.array([_can_be_read(vocabulary, number) for number in range(size)], dtype=bool)
    beyond = np.ones(table.shape[0] - size, dtype=bool)
    there = nonzero_rows(table, table.shape[0])
    known = torch.from_numpy(np.flatnonzero(there[:size] & reachable))
    unreachable = torch.from_numpy(np.flatnonzero(there & np.concatenate([~reachable, beyond])))
    bad = np.zeros(size, dtype=bool)
    if not len(known):
        return bad

    def run(device: torch.device) -> Tensor:
        return _outlying(table[known].to(device), table[unreachable].to(device)).cpu()

    rows, blocks = len(known) + len(unreachable), 4 * _BLOCK  # float64, for a moment
    needed = table.shape[1] * (rows * table.element_size() + 8 * blocks)
    bad[known[(placement or Placement()).run(_STEP, run, needed=needed)].numpy()] = True
    return bad


def _outlying(rows: Tensor, unreachable: Tensor) -> Tensor:
    """Which rows have a norm far from the others', or point where the unreachable ones point: bool [n]."""
    blocks = rows.split(_BLOCK)
    norms = torch.cat([block.double().norm(dim=1) for block in blocks]).log()
    deviation = (norms - norms.median()).abs()
    outlying: Tensor = deviation > _OUTLYING * _DEVIATION_PER_MAD * deviation.median()
    if len(unreachable):
        centre, direction = _mean(rows), _mean(unreachable)
        if float(_agreement(unreachable, direction, centre).median()) > _LIKE_UNREACHABLE:
            outlying |= _agreement(rows, direction, centre) > _LIKE_UNREACHABLE
    return outlying


def _mean(rows: Tensor) -> Tensor:
    """float64 [h]."""
    mean: Tensor = torch.stack([block.double().sum(dim=0) for block in rows.split(_BLOCK)]).sum(dim=0) / len(rows)
    return mean


def _agreement(rows: Tensor, direction: Tensor, centre: Tensor) -> Tensor:
    """Cosines with one direction around a centre, float64 [n]."""
    return torch.cat([centred_cosines(block, direction.expand_as(block), centre) for block in rows.split(_BLOCK)])


def centred_cosines(made: Tensor, true: Tensor, centre: Tensor) -> Tensor:
    """Cosines of rows around a centre, float64 [n]; 0 where one of the two lies on it.

    Args:
        made: floating [n, width].
        true: floating [n, width].
        centre: floating [width].
    """
    a, b = made.double() - centre.double(), true.double() - centre.double()
    lengths = a.norm(dim=1) * b.norm(dim=1)
    cosines: Tensor = (a * b).sum(dim=1) / lengths.where(lengths > 0, 1.0)
    return cosines


def _can_be_read(vocabulary: Vocabulary, number: int) -> bool:
    """Whether some text has this token."""
    form = vocabulary.forms[number]
    if form is None:  # a special token may be untrained or not: it is no example
        return vocabulary.tokens[number] is not None
    return not (len(form.written) == 1 and form.written[0] in _NEVER_IN_TEXT)


def _listed(material: MethodInputs, places: npt.NDArray[np.int64]) -> dict[str, Any]:
    first = material.anchors.target_ids[places[:_LISTED]].tolist()
    return {"count": len(places), "first": [material.target.readable(number) for number in first]}
