"""TokenAdapt's rows against its formula, token by token in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from salt_ext.errors import InputError
from salt_ext.methods import assemble_plan
from salt_ext.methods.token_adapt import TokenAdapt

from .conftest import close, unit


def softmax(values) -> np.ndarray:
    raised = np.exp(np.asarray(values, dtype=np.float64))
    return raised / raised.sum()


def local(token: str, cut: list[str], cosines: list[float], temperature: float) -> np.ndarray:
    """The pieces' weights."""
    return softmax((softmax(cosines) + np.array([len(piece) / len(token) for piece in cut])) / 2 / temperature)


def near(cosines: np.ndarray, k: int, temperature: float) -> np.ndarray:
    """The candidates' weights: a softmax of the k nearest, of which those below 0 are struck out, brought back to 1."""
    nearest = np.argsort(-cosines)[:k]
    weights = np.zeros(len(cosines))
    weights[nearest] = softmax(cosines[nearest] / temperature)
    weights[cosines < 0] = 0
    return weights / weights.sum() if weights.any() else weights


@pytest.fixture
def told(pair):
    """The pair with vectors of its target's tokens; those of the new token `sese` point away from every anchor."""
    material, cuts, ids, table = pair
    vectors = np.random.default_rng(3).normal(size=(material.target.size, 6))
    new = {token: material.target.tokens.index(token) for token in cuts}
    vectors[:, 0] = np.abs(vectors[:, 0])
    vectors[new["sese"]] = [-1, 0, 0, 0, 0, 0]
    vectors = vectors.astype(np.float32)
    material = replace(material, read_auxiliary=lambda: torch.from_numpy(vectors))
    return material, cuts, ids, table, vectors, new


def rows_of(method: TokenAdapt, material, table) -> np.ndarray:
    plan = assemble_plan(
        method.combine(material), material.anchors, material.target, rows=material.target.size, source_rows=len(table),
        seed=0,
    )  # fmt: skip
    assert plan.head_values is None
    return plan.apply(torch.from_numpy(table)).numpy()


@pytest.mark.parametrize(
    ("k", "temperature", "share"), [(3, 0.3, 0.3), (1, 0.3, 0.3), (20, 1.5, 0.8), (3, 0.3, 0.0), (3, 0.1, 1.0)]
)
def test_the_formula(told, k, temperature, share):
    material, cuts, _, table, vectors, new = told
    made = rows_of(TokenAdapt(neighbours=k, temperature=temperature, global_weight=share), material, table)
    anchors = material.anchors
    text = np.isin(anchors.kinds, ["exact", "case", "loose"])
    candidates, candidate_rows = vectors[anchors.target_ids[text]], table[anchors.source_ids[text]]
    target_ids = {token: number for number, token in enumerate(material.target.tokens)}
    source_ids = {token: number for number, token in enumerate(material.source.tokens)}
    known = {anchors.target_ids[n] for n in np.flatnonzero(text)}
    for token, cut in cuts.items():
        query = unit(vectors[[new[token]]])[0]
        of_pieces = [
            float(unit(vectors[[target_ids[piece]]])[0] @ query) if target_ids[piece] in known else 0.0 for piece in cut
        ]
        pieces = local(token, cut, of_pieces, temperature) @ table[[source_ids[piece] for piece in cut]]
        weights = near(unit(candidates) @ query, k, temperature)
        assert weights.any() == (token != "sese")
        if share == 1 and not weights.any():
            continue  # neither part has anything to say: the row is left to the rest
        part = share if weights.any() else 0.0
        close(made[[new[token]]], (part * (weights @ candidate_rows) + (1 - part) * pieces)[None], 2e-6)


def test_defaults_are_the_published_ones():
    assert TokenAdapt() == TokenAdapt(neighbours=3, temperature=0.3, global_weight=0.3, vectors=None)


def test_a_token_without_a_vector_is_made_of_its_pieces_by_length(told):
    material, cuts, ids, table, vectors, new = told
    vectors[new["Ġhaus"]] = 0
    cut = cuts["Ġhaus"]
    expected = local("Ġhaus", cut, [0.0, 0.0], 0.3) @ table[[ids[piece] for piece in cut]]
    close(rows_of(TokenAdapt(), material, table)[[new["Ġhaus"]]], expected[None], 2e-6)


def test_vectors_of_both_languages_know_every_piece(pair, tmp_path):
    material, cuts, ids, table = pair
    words = ["haus", "hause", "sese", "hau", "se", "s", "h", "e", "au"]
    vectors = np.abs(np.random.default_rng(5).normal(size=(len(words), 7))).astype(np.float32)
    np.save(tmp_path / "both.npy", vectors)
    (tmp_path / "both.txt").write_text("\n".join(words) + "\n")
    made = rows_of(TokenAdapt(vectors=f"vectors:{tmp_path / 'both.npy'}", global_weight=0.0), material, table)
    by_word = dict(zip(words, unit(vectors), strict=True))
    for token, cut in cuts.items():
        cosines = [float(by_word[token.removeprefix("Ġ")] @ by_word[piece.removeprefix("Ġ")]) for piece in cut]
        expected = local(token, cut, cosines, 0.3) @ table[[ids[piece] for piece in cut]]
        close(made[[material.target.tokens.index(token)]], expected[None], 2e-6)


def test_bad_input(told):
    material = told[0]
    with pytest.raises(InputError, match=r"^neighbours is 1000, but only \d+ source tokens .*: pass \d+ or less$"):
        TokenAdapt(neighbours=1000).combine(material)
    with pytest.raises(InputError, match="pass source_tokenizer"):
        TokenAdapt().combine(replace(material, source_tokenizer=None))
    for options, message in [
        ({"neighbours": 0}, "neighbours is 0, expected a whole number of at least 1"),
        ({"temperature": 0.0}, "temperature is 0.0, expected a finite number above 0"),
        ({"global_weight": 1.5}, "global_weight is 1.5, expected a number from 0 to 1"),
        ({"vectors": "x.vec"}, r"'x.vec' without a prefix \(vectors:x.vec\?\)"),
    ]:
        with pytest.raises(InputError, match=message):
            TokenAdapt(**options)
