"""Made-up vocabularies of both sides, and what a method makes of them as a dense matrix."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from factories import make_anchors, make_vocabulary
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from salt_ext.methods import Combinations, MethodInputs, assemble_plan
from salt_ext.methods.salt.prior import Prior
from salt_ext.vocab import Vocabulary, match_vocabularies

Array = npt.NDArray[Any]


class World:
    """`anchors` shared tokens and `new` ones behind a special token; source ids run backwards, so no order helps.

    Target ids: 0 special, 1 to K anchors, K + 1 to K + Q new.
    The source has as many tokens beside as there are anchors.
    """

    def __init__(self, anchors: int, new: int, *, aux: int = 12, donor: int = 20, source: int = 16, seed: int = 0):
        generator = np.random.default_rng(seed)
        self.anchors, self.new, size = anchors, new, 1 + anchors + new
        self.aux = generator.normal(size=(size, aux)).astype(np.float32)
        self.donor = generator.normal(size=(size, donor)).astype(np.float32)
        self.table = generator.normal(size=(1 + 2 * anchors, source)).astype(np.float32)
        self.source = make_vocabulary(["<s>", *(f" s{n}" for n in range(2 * anchors))])
        self.target = make_vocabulary(["<s>", *(f" t{n}" for n in range(anchors + new))])
        self.source_ids = 2 * anchors - np.arange(anchors)
        pairs = {0: (0, "special")} | {1 + n: int(self.source_ids[n]) for n in range(anchors)}
        self.pairs = make_anchors(pairs)

    keys = property(lambda self: slice(1, 1 + self.anchors))
    made = property(lambda self: slice(1 + self.anchors, None))

    def shared(self) -> Array:
        """The anchors' source rows, float64."""
        return self.table[self.source_ids].astype(np.float64)

    def material(self, **more: Any) -> MethodInputs:
        return MethodInputs(
            source=self.source,
            target=self.target,
            anchors=self.pairs,
            read_donor=lambda: torch.from_numpy(self.donor),
            read_auxiliary=lambda: torch.from_numpy(self.aux),
            read_source=lambda: pytest.fail("the method must not need the source's table"),
            **more,
        )

    def rows(self, combined: Combinations, *, head: bool = False) -> Array:
        """The new table from the method's rows, float64 [target, source width]."""
        plan = assemble_plan(
            combined, self.pairs, self.target, rows=self.target.size, source_rows=len(self.table), seed=0
        )
        return plan.apply(torch.from_numpy(self.table).double(), head=head).numpy()


@pytest.fixture
def world() -> Callable[..., World]:
    return World


ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())


def byte_level(pieces: list[str], merges: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE({piece: n for n, piece in enumerate([*ALPHABET, *pieces])}, merges))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def of_tokenizers(source: PreTrainedTokenizerFast, target: PreTrainedTokenizerFast) -> MethodInputs:
    """What a method is given that needs no table."""
    old, new = (Vocabulary.from_tokenizer(tokenizer, name=name) for tokenizer, name in ((source, "s"), (target, "t")))
    return MethodInputs(
        source=old,
        target=new,
        anchors=match_vocabularies(old, new),
        read_donor=lambda: pytest.fail("not needed"),
        read_auxiliary=lambda: pytest.fail("not needed"),
        read_source=lambda: pytest.fail("not needed"),
        source_tokenizer=source,
    )


@pytest.fixture
def pair() -> tuple[MethodInputs, dict[str, list[str]], dict[str, int], np.ndarray]:
    """A source that knows Ġhau and se; a target with three words that it cuts."""
    source = byte_level(["Ġh", "au", "Ġhau", "se"], [("Ġ", "h"), ("a", "u"), ("Ġh", "au"), ("s", "e")])
    target = byte_level(
        ["Ġh", "Ġhau", "au", "Ġhaus", "Ġhause", "se", "sese"],
        [("Ġ", "h"), ("a", "u"), ("Ġh", "au"), ("Ġhau", "s"), ("Ġhaus", "e"), ("s", "e"), ("se", "se")],
    )
    cuts = {"Ġhaus": ["Ġhau", "s"], "Ġhause": ["Ġhau", "se"], "sese": ["se", "se"]}
    table = np.random.default_rng(0).normal(size=(len(ALPHABET) + 4, 6))
    return of_tokenizers(source, target), cuts, source.get_vocab(), table


def unit(rows: Array) -> Array:
    """Rows of norm 1 in float64."""
    rows = rows.astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def close(found: Array, expected: Array, tolerance: float = 2e-5) -> None:
    """Every row within a share of its norm."""
    error = np.linalg.norm(found - expected, axis=1) / np.linalg.norm(expected, axis=1)
    assert error.max() <= tolerance, f"row {error.argmax()}: relative error {error.max():.1e}"


def softmax_of_nearest(queries: Array, keys: Array, table: Array, k: int, temperature: float) -> Array:
    """Row by row: the k largest cosines, their softmax, the weighted sum."""
    cosines = unit(queries) @ unit(keys).T
    rows = []
    for row in cosines:
        nearest = np.argsort(-row)[:k]
        weights = np.exp(row[nearest] / temperature)
        rows.append(weights / weights.sum() @ table[nearest])
    return np.array(rows)


def write_vectors(path: Path, words: list[str], vectors: Array) -> str:
    np.save(path.with_suffix(".npy"), vectors.astype(np.float32))
    path.with_suffix(".txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return f"vectors:{path.with_suffix('.npy')}"


class Languages:
    """Two sets of vectors: the target's are the source's words turned and blurred, under other names."""

    def __init__(self, folder: Path, w: World, dim: int = 9) -> None:
        generator = np.random.default_rng(2)
        self.turn = np.linalg.qr(generator.normal(size=(dim, dim)))[0]
        self.source_words = [form.text for form in w.source.forms if form is not None]
        self.target_words = [form.text for form in w.target.forms if form is not None]
        self.source = generator.normal(size=(len(self.source_words), dim))
        self.target = generator.normal(size=(len(self.target_words), dim))
        common = min(len(self.source), len(self.target))
        self.target[:common] = self.source[:common] @ self.turn + 0.05 * self.target[:common]
        self.options = {
            "source_vectors": write_vectors(folder / "source", self.source_words, self.source),
            "target_vectors": write_vectors(folder / "target", self.target_words, self.target),
        }
        self.pairs = list(zip(self.source_words[:common], self.target_words[:common], strict=True))
        self.dictionary = folder / "pairs.tsv"
        self.dictionary.write_text("\n".join(map("\t".join, self.pairs)) + "\n")


def random_guesses(world: World, unknown: list[int]) -> Array:
    """Up to four source tokens for each target token that is text, as a dense matrix; none for those not known."""
    generator = np.random.default_rng(6)
    guesses = np.zeros((world.target.size, world.source.size))
    for token in range(1, world.target.size):
        chosen = generator.choice(np.arange(1, world.source.size), size=1 + token % 4, replace=False)
        guesses[token, chosen] = generator.dirichlet(np.ones(len(chosen)))
    guesses[unknown] = 0
    return guesses


def sparse(guesses: Array) -> Prior:
    rows, columns = guesses.nonzero()
    return Prior(np.searchsorted(rows, np.arange(len(guesses) + 1)), columns, guesses[rows, columns])
