"""The pieces that the source's own tokenizer makes of tokens that the source does not have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from salt_ext.errors import InputError
from salt_ext.methods.core.inputs import MethodInputs
from salt_ext.methods.core.piece_weights import Ints
from salt_ext.vocab import Form
from salt_ext.vocab.families import backend_of
from salt_ext.vocab.rust import rust_errors
from salt_ext.vocab.segmentation import form_segmenter

_REPORTED_EVERY = 1024


def segment_tokens(material: MethodInputs, ids: Ints) -> tuple[Ints, Ints]:
    """How many source tokens the text of each token is cut into, and their ids one after the other: int64, int64.

    Args:
        material: of the method, which is told of the progress.
        ids: int64 [n], target ids; one without a form has no piece.

    Raises:
        InputError: the source's tokenizer is missing or slow.
    """
    segment, pieces = source_segmenter(material), list[list[int]]()
    with rust_errors(material.source.name):
        for number, target_id in enumerate(ids.tolist(), start=1):
            form = material.target.forms[target_id]
            pieces.append([] if form is None else segment(form))
            if material.progress is not None and (number % _REPORTED_EVERY == 0 or number == len(ids)):
                material.progress(number, len(ids))
    lengths = np.array([len(found) for found in pieces], dtype=np.int64)
    return lengths, np.array([number for found in pieces for number in found], dtype=np.int64)


def source_segmenter(material: MethodInputs) -> Callable[[Form], list[int]]:
    """A function from a form to the source tokens that its text is cut into, without the unknown one.

    Raises:
        InputError: the source's tokenizer is missing or slow.
    """
    if material.source_tokenizer is None:
        raise InputError("texts are cut with the source's tokenizer: pass source_tokenizer")
    return form_segmenter(material.source, backend_of(material.source_tokenizer, material.source.name))
