"""OFA against its formula in float64."""

from __future__ import annotations

import numpy as np
import pytest

from salt_ext.errors import InputError
from salt_ext.methods.ofa import Ofa
from salt_ext.plan import Provenance

from .conftest import close, softmax_of_nearest


@pytest.mark.parametrize(("k", "temperature"), [(10, 0.1), (1, 0.1), (3, 2.0), (40, 0.5)])
def test_the_formula(world, k, temperature):
    w = world(40, 25)
    found = w.rows(Ofa(neighbours=k, temperature=temperature).combine(w.material()))
    close(found[w.made], softmax_of_nearest(w.aux[w.made], w.aux[w.keys], w.shared(), k, temperature))
    assert np.array_equal(found[w.keys], w.shared())


def test_defaults_are_the_published_ones():
    assert Ofa() == Ofa(neighbours=10, temperature=0.1, vectors=None)


def test_tokens_without_a_vector(world):
    """A new one is left, an anchor is no neighbour, although its source row would otherwise count."""
    w = world(12, 6)
    w.aux[13], w.aux[4] = 0, 0
    combined = Ofa().combine(w.material())
    assert 13 not in combined.target_ids
    assert w.source_ids[3] not in combined.source_ids
    assert combined.fallback is Provenance.SAMPLED


def test_vectors_of_both_languages_make_every_source_token_a_candidate(world, tmp_path):
    w = world(12, 6)
    generator = np.random.default_rng(5)
    words = [form.text for vocabulary in (w.source, w.target) for form in vocabulary.forms if form is not None]
    vectors = generator.normal(size=(len(words), 7)).astype(np.float32)
    np.save(tmp_path / "both.npy", vectors)
    (tmp_path / "both.txt").write_text("\n".join(words) + "\n")
    found = w.rows(Ofa(vectors=f"vectors:{tmp_path / 'both.npy'}").combine(w.material()))
    candidates, new = vectors[: w.source.size - 1], vectors[w.source.size - 1 + w.anchors :]
    close(found[w.made], softmax_of_nearest(new, candidates, w.table[1:].astype(np.float64), 10, 0.1))
    assert np.array_equal(found[w.keys], w.shared())


def test_bad_input(world):
    w = world(5, 3)
    with pytest.raises(InputError, match=r"^neighbours is 10, but only 5 source tokens .*: pass 5 or less$"):
        Ofa().combine(w.material())
    for options, message in [
        ({"neighbours": 0}, "neighbours is 0, expected a whole number of at least 1"),
        ({"neighbours": 2.5}, "neighbours is 2.5, expected a whole"),
        ({"temperature": -1.0}, "temperature is -1.0, expected a finite number above 0"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"vectors": "vectors:/nowhere/x.vec"}, "/nowhere/x.vec: no such file"),
        ({"vectors": "x.vec"}, r"'x.vec' without a prefix \(vectors:x.vec\?\)"),
    ]:
        with pytest.raises(InputError, match=message):
            Ofa(**options)
