"""What plan and norms say of the start, see `salt_ext.pipeline.start_warnings`, of the folder as it is now."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from salt_ext.checkpoint.header import FLOATING
from salt_ext.diagnosis.models import Transferred
from salt_ext.diagnosis.subject import Subject
from salt_ext.methods.core.needs import needs_of
from salt_ext.pair.pair import Model
from salt_ext.pair.source_tables import SourceTables
from salt_ext.pair.table_facts import TableFacts, norms_and_finite
from salt_ext.pipeline.start_warnings import start_warnings


def signs_of_the_start(subject: Subject, source: Model, transferred: Transferred | None) -> list[str]:
    """Sentences, one for each sign of a bad start.

    Args:
        subject: the moved model.
        source: its source.
        transferred: what it was made from; where that is not known, drawn rows are none for want of a vector.

    Raises:
        InputError: a table cannot be read, or holds NaN or infinity.
    """
    tensors = source.checkpoint.tensors
    found = SourceTables(source.checkpoint, source.vocabulary.tokens).examine()
    before: Mapping[str, TableFacts] = {name: facts for name, facts in found.items() if len(tensors[name].shape) > 1}
    dims = subject.checkpoint.vocabulary_tensors().dims
    held = {name for name in before if name in dims and subject.checkpoint.tensors[name].dtype in FLOATING}
    after = {
        name: norms_and_finite(subject.checkpoint.read(name).movedim(dims[name], 0).flatten(1))[0]
        for name in sorted(held)
    }
    text = torch.from_numpy(subject.copied[0][subject.text_anchors])
    vectors = transferred is not None and bool(needs_of(transferred.method.method))
    known = {name: before[name] for name in after}
    return start_warnings(subject.plan, text=text, before=known, after=after, vectors=vectors)
