"""Guesses in the map's place: the corrected rows against dense algebra, the guesses themselves by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from factories import make_anchors, make_vocabulary

from salt_ext.alignment import AlignmentTable, TokenCounts, write_table
from salt_ext.errors import InputError
from salt_ext.methods import make_method
from salt_ext.methods.salt.prior import Prior, _cut_in_two
from salt_ext.methods.salt.salt import Salt
from salt_ext.vocab import Form

from .conftest import World, close, random_guesses, sparse

ANCHORS, NEW = 30, 12
NO_VECTOR, NO_ROW, UNKNOWN, UNKNOWN_ANCHOR = 33, 35, 37, 5


@pytest.fixture
def scene() -> tuple[World, np.ndarray]:
    """A world, and guesses as a dense matrix, none for two of the tokens."""
    world = World(ANCHORS, NEW)
    world.aux[NO_VECTOR], world.donor[NO_ROW] = 0, 0
    return world, random_guesses(world, [UNKNOWN, UNKNOWN_ANCHOR])


def local_weights(world: World, ridge: float) -> np.ndarray:
    """Of all anchors for every target token: at a high temperature all of them are neighbours."""
    rows = world.donor.astype(np.float64)
    keys = rows[world.keys]
    gram = keys @ keys.T
    return rows @ keys.T @ np.linalg.inv(gram + ridge * np.trace(gram) / len(gram) * np.eye(len(gram)))


@pytest.mark.parametrize("block", [5, 2048])
@pytest.mark.parametrize("global_ridge", [None, 0.5])
def test_rows_are_guesses_corrected_by_the_anchors(scene, global_ridge, block, monkeypatch):
    monkeypatch.setattr("salt_ext.methods.salt.prior._BLOCK", block)
    world, guesses = scene
    method = Salt(temperature=1e4, ridge=0.3, global_ridge=global_ridge)
    made = world.rows(method.rows_of(world.material(), sparse(guesses)))
    weights = local_weights(world, 0.3)
    table = world.table.astype(np.float64)
    wrong = world.shared() - guesses[world.keys] @ table
    wrong[UNKNOWN_ANCHOR - 1] = 0
    expected = guesses @ table + weights @ wrong
    expected[NO_VECTOR] = guesses[NO_VECTOR] @ table
    expected[NO_ROW] = guesses[NO_ROW] @ table
    anchors = world.donor[world.keys].astype(np.float64)
    centre, image = anchors.mean(0), world.shared().mean(0)
    gram = (anchors - centre).T @ (anchors - centre)
    gram += (global_ridge or 0) * np.trace(gram) / len(gram) * np.eye(len(gram))
    solution = np.linalg.solve(gram, (anchors - centre).T @ (world.shared() - image))
    mapped = (world.donor - centre) @ solution + image
    without = mapped[UNKNOWN] + weights[UNKNOWN] @ (world.shared() - mapped[world.keys])
    expected[UNKNOWN] = weights[UNKNOWN] @ world.shared() if global_ridge is None else without
    close(made[world.made], expected[world.made])


# Where guesses come from


WORDS = ["Haus", "Hund", "dog", "run", "qqq"]
ENGLISH = ["house", "dog", "run", "cat"]
OLD = {word: number for number, word in enumerate(ENGLISH)}


def bilingual(tmp_path, counts: list[tuple[str, str, int]]):
    """The material of WORDS and ENGLISH, and the file of an alignment."""
    source, target = (make_vocabulary(f" {word}" for word in known) for known in (ENGLISH, WORDS))
    columns = np.array([(WORDS.index(new), OLD[old], count) for new, old, count in counts], dtype=np.int64).T
    table = AlignmentTable.of(TokenCounts(*columns), source, target, name="made up")
    write_table(tmp_path / "table.tsv", table, source, target)
    world = World(2, 2)
    anchors = make_anchors({WORDS.index(word): OLD[word] for word in ("dog", "run")})
    return replace(world.material(), source=source, target=target, anchors=anchors), tmp_path / "table.tsv"


def guess(prior: Prior, token: str) -> dict[str, float]:
    row = WORDS.index(token)
    entries = slice(prior.crow[row], prior.crow[row + 1])
    return {ENGLISH[old]: value for old, value in zip(prior.col[entries], prior.values[entries], strict=True)}


def test_a_translation_is_a_guess_but_for_the_token_itself(tmp_path):
    counts = [("Haus", "house", 30), ("Haus", "cat", 10), ("Hund", "dog", 5), ("dog", "dog", 80), ("dog", "cat", 20)]
    material, file = bilingual(tmp_path, [*counts, ("run", "run", 50)])
    prior = Prior.of(material, "alignment", file)
    assert guess(prior, "Haus") == pytest.approx({"house": 0.75, "cat": 0.25})
    assert guess(prior, "Hund") == {"dog": 1}
    assert guess(prior, "dog") == {"cat": 1}
    assert guess(prior, "run") == {}
    assert guess(prior, "qqq") == {}
    # An anchor that is held out is guessed at as before: it is not found in itself.
    less = Prior.of(material.with_anchors(np.array([False, True])), "alignment", file)
    assert guess(less, "dog") == {"cat": 1}


def test_pieces_are_a_guess_but_for_the_token_itself(pair):
    """Ġhau is Ġh and au, not Ġha and u, which are three pieces; Ġh is one character."""
    material, cuts, ids, _ = pair
    prior = Prior.of(material, "subword")
    by_token = {token: number for number, token in enumerate(material.target.tokens)}
    for token, pieces in (cuts | {"Ġhau": ["Ġh", "au"], "au": ["a", "u"], "Ġh": []}).items():
        entries = slice(prior.crow[by_token[token]], prior.crow[by_token[token] + 1])
        assert sorted(prior.col[entries]) == sorted({ids[piece] for piece in pieces}), token
        assert prior.values[entries].sum() == pytest.approx(1.0 if pieces else 0.0)
    assert prior.values[prior.crow[by_token["sese"]]] == 1


def test_an_anchor_of_another_spelling_is_not_found_in_itself_either(tmp_path):
    material, file = bilingual(tmp_path, [("qqq", "cat", 30), ("qqq", "house", 10)])
    assert guess(Prior.of(material, "alignment", file), "qqq") == {"cat": 0.75, "house": 0.25}
    anchors = make_anchors({WORDS.index("qqq"): (OLD["cat"], "case")})
    assert guess(Prior.of(replace(material, anchors=anchors), "alignment", file), "qqq") == {"house": 1}


def test_of_cuts_with_equally_many_pieces_the_first_part_is_the_longest():
    """Here every part is one piece; a character of two bytes is not cut."""
    whole = Form("a\N{LATIN SMALL LETTER O WITH DIAERESIS}b\N{LATIN SMALL LETTER O WITH DIAERESIS}".encode(), True)
    assert _cut_in_two(whole, lambda form: [len(form.written)]) == [5, 2]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prior": "map"}, "prior is 'map', expected one of none, subword, alignment"),
        ({"prior": "alignment"}, "needs one of the two tokenizers: make it with salt-ext align"),
        ({"alignment": "table.tsv"}, "an alignment is given, but prior is 'none': pass --set prior=alignment"),
        ({"prior": "alignment", "alignment": "absent.tsv"}, "alignment absent.tsv: no such file"),
    ],
)
def test_bad_options(given, message):
    with pytest.raises(InputError, match=message):
        make_method("salt", given)


@pytest.mark.parametrize(("kind", "weights"), [("mean", [1, 1]), ("decayed", [2, 1]), ("length", [4, 2])])
def test_pieces_weigh_by_their_place_or_length(pair, kind, weights):
    """Ġhause is cut into Ġhau and se."""
    material, cuts, ids, _ = pair
    prior = Prior.of(material, "subword", pieces=kind)
    assert prior is not None
    token = next(number for number in material.new.tolist() if material.target.tokens[number] == "Ġhause")
    found = prior.guesses(np.array([token]))
    expected = dict(zip([ids[piece] for piece in cuts["Ġhause"]], np.array(weights) / sum(weights), strict=True))
    assert dict(zip(found.columns.tolist(), found.values.tolist(), strict=True)) == pytest.approx(expected)
