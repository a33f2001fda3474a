"""Methods beside the published functions on the same arrays; left out where a package is not installed.

    pip install --no-deps deepfocus==1.0.1 wechsel==0.0.4 mergekit==0.1.5 entmax==1.3

They bring requirements of their own, most of which these functions never use.
"""

from __future__ import annotations

import importlib
import os
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from salt_ext.methods.focus import Focus
from salt_ext.methods.interpolate import Interpolate
from salt_ext.methods.omp import Omp
from salt_ext.methods.subword import Subword
from salt_ext.methods.wechsel import Wechsel
from salt_ext.vectors import open_vectors
from salt_ext.vectors.aligned import fit_rotation

from .conftest import Array, Languages, World, close

os.environ.setdefault("TQDM_DISABLE", "1")


def published(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # a package that is half installed fails in any way
        pytest.skip(f"{name} is not there: {type(error).__name__}: {error}")


def test_focus(world):
    module = published("deepfocus.focus")
    w = world(80, 40)
    shared = {
        n: SimpleNamespace(auxiliary_embedding=w.aux[1 + n], source_embedding=torch.from_numpy(w.table[s]))
        for n, s in enumerate(w.source_ids)
    }
    new = {
        n: SimpleNamespace(auxiliary_embedding=w.aux[81 + n], target=SimpleNamespace(id=81 + n)) for n in range(w.new)
    }
    table = torch.zeros(w.target.size, w.table.shape[1])
    expected = module.focus_additional_token_initialization(shared, new, table, device="cpu").numpy()
    close(w.rows(Focus().combine(w.material()))[w.made], expected[w.made], 1e-5)


class Words:
    """As much of a tokenizer as WECHSEL asks for: token 7 is called 7."""

    special_tokens_map: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, size: int) -> None:
        self.vocab = {number: number for number in range(size)}

    def __len__(self) -> int:
        return len(self.vocab)

    def convert_ids_to_tokens(self, ids: Any) -> Any:
        return list(ids) if hasattr(ids, "__len__") else ids


class Lookup:
    """A set of vectors as WECHSEL's alignment asks it."""

    def __init__(self, words: list[str], vectors: Array) -> None:
        self.words, self.vectors = words, vectors.astype(np.float32)

    def get_word_id(self, word: str) -> int:
        return self.words.index(word) if word in self.words else -1

    def get_word_vector(self, word: str) -> Array:
        return self.vectors[self.words.index(word)]


def test_wechsel(world, tmp_path):
    module = published("wechsel")
    w = world(30, 15)
    both = Languages(tmp_path, w)
    source, target = Lookup(both.source_words, both.source), Lookup(both.target_words, both.target)
    turn = module.WECHSEL._compute_align_matrix_from_dictionary(None, source, target, both.pairs)
    vectors = [open_vectors(both.options[name]) for name in ("source_vectors", "target_vectors")]
    assert np.abs(fit_rotation(*vectors, both.dictionary).matrix - turn).max() < 1e-5
    # Without its special token, which is no neighbour here; rows of the target shift by one as well.
    expected, _, _ = module.create_target_embeddings(
        source.vectors @ turn, target.vectors, Words(60), Words(45), w.table[1:].astype(np.float64), verbose=False
    )
    combined = Wechsel(**both.options, dictionary=both.dictionary).combine(w.material())
    close(w.rows(combined)[1:], expected, 1e-5)


def tokensurgeon(w: World) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(w.donor[w.made]), torch.from_numpy(w.donor[w.keys])


def rebuilt(w: World, indices: torch.Tensor, weights: torch.Tensor) -> Array:
    rows = torch.from_numpy(w.shared())[indices]
    return (weights.double()[:, None] @ rows)[:, 0].numpy()


@pytest.mark.parametrize("k", [1, 8, 18])
def test_omp(world, k):
    module = published("mergekit.tokensurgeon.omp")
    w = world(60, 40)
    expected = rebuilt(w, *module.batch_omp(*tokensurgeon(w), k))
    close(w.rows(Omp(k=k).combine(w.material()))[w.made], expected, 2e-3)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("weights", ["least-squares", "barycentric", "distance"])
def test_interpolation(world, metric, weights):
    module = published("mergekit.tokensurgeon.common_interpolation")
    w = world(60, 40)
    # A common direction, so that no cosine is negative: there tokensurgeon's weights are another matter.
    w.donor += 2
    schemes = {"distance": "distance_proportional"}
    scheme = module.WeightingScheme(schemes.get(weights, weights.replace("-", "_")))
    indices, found = module.common_interp_approximate(
        *tokensurgeon(w), k=8, metric=module.DistanceMetric(metric), weight_scheme=scheme
    )
    combined = Interpolate(k=8, metric=metric, weights=weights).combine(w.material())
    close(w.rows(combined)[w.made], rebuilt(w, indices, found), 1e-3)


def test_subword(pair):
    module = published("mergekit.tokensurgeon.subword")
    material, _, _, table = pair
    combined = Subword().combine(material)
    texts = [material.target.forms[number].written.decode() for number in combined.target_ids]
    expected = module.subword_approximate(
        torch.from_numpy(table), texts, False, material.source_tokenizer, module.SubwordMethod.MEAN
    ).numpy()
    starts = np.append(0, combined.lengths.cumsum())
    found = [combined.values[begin:end] @ table[combined.source_ids[begin:end]] for begin, end in pairwise(starts)]
    close(np.array(found), expected, 1e-6)


def test_the_unbounded_weights_are_tokensurgeons(world):
    """The defect that the docstring of `interpolate` names: both neighbours point the other way."""
    module = published("mergekit.tokensurgeon.common_interpolation")
    w = world(2, 1, donor=2)
    w.donor[1:] = [[1.0, 0.0], [-1.0, 0.1], [-0.05, -1.0]]
    _, theirs = module.common_interp_approximate(*tokensurgeon(w), k=2, metric=module.DistanceMetric.COSINE)
    assert float(theirs.abs().max()) > 1e3
    assert Interpolate(k=2, metric="cosine", weights="distance").combine(w.material()).lengths.tolist() == [0]


@pytest.fixture(autouse=True)
def _no_progress_bars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
