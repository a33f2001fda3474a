"""SALT's options on a real pair, English to German: anchors that are held out say which rows are better."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from salt_ext.methods import MethodInputs, assemble_plan, make_method
from salt_ext.methods.core.anchor_filters import undertrained
from salt_ext.pair.pair import match_pair, open_pair
from salt_ext.pair.tables import PairTables
from salt_ext.runtime.progress import Clock
from salt_ext.vectors import open_vectors


@pytest.fixture(scope="module")
def material(real_data: Path) -> MethodInputs:
    pair = open_pair(real_data / "models/en-llama", real_data / "models/de-gpt")
    vectors = open_vectors(f"fasttext:{real_data}/models/de-fasttext.bin")
    return PairTables(pair, vectors, Clock(None)).material(match_pair(pair))


def held_out_cosine(material: MethodInputs, name: str, **options: object) -> float:
    """Mean over 300 anchors of the cosine with their true rows, around the mean of the other anchors' rows."""
    text = np.flatnonzero(material.text_anchors)
    out = np.random.default_rng(17).choice(text, 300, replace=False)
    kept = np.ones(len(material.anchors), dtype=bool)
    kept[out] = False
    less = material.with_anchors(kept)
    combined = make_method(name, options).combine(less)
    rows, source_rows = material.target.size, material.source.size
    plan = assemble_plan(combined, less.anchors, less.target, rows=rows, source_rows=source_rows, seed=0)
    table = material.source_table[:source_rows].float()
    centre = table[less.anchors.source_ids].mean(0)
    made = plan.apply(table)[material.anchors.target_ids[out]] - centre
    true = table[material.anchors.source_ids[out]] - centre
    return float(torch.nn.functional.cosine_similarity(made, true).mean())


def test_what_each_option_adds(material):
    """The order that the options are documented in; the margins are half of what was measured."""
    paper = held_out_cosine(material, "salt")
    ridge = held_out_cosine(material, "salt", ridge=0.3)
    both = held_out_cosine(material, "salt", ridge=0.3, similarity="mean")
    global_map = held_out_cosine(material, "salt", ridge=3.0, similarity="mean", global_ridge=3.0)
    plus = held_out_cosine(
        material, "salt", ridge=3.0, similarity="mean", global_ridge=1.0, drop_anchors="undertrained"
    )
    assert paper + 0.01 < ridge
    assert ridge + 0.04 < both
    assert both + 0.02 < global_map
    assert paper + 0.07 < plus


def test_tokens_that_neither_text_contains_are_undertrained(material):
    """Control characters never occur in the training text, articles and punctuation all the time."""
    for table, vocabulary in ((material.source_table, material.source), (material.donor, material.target)):
        bad = undertrained(table, vocabulary)
        written = [None if form is None else form.written for form in vocabulary.forms]
        assert all(bad[written.index(bytes([control]))] for control in range(1, 9))
        assert not any(bad[written.index(word)] for word in (b",", b".", b" der", b" the") if word in written)
        assert bad.mean() < 0.05
