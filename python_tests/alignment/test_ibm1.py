"""IBM Model 1 against rational arithmetic, a float64 transcription, and fast_align's own table."""

from __future__ import annotations

import math
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest

from salt_ext.alignment import fit_ibm1
from salt_ext.alignment.ibm1 import UPDATES
from salt_ext.errors import InputError

NULL = "<eps>"


def by_the_definition(pairs, updates, one):
    """(source, target) -> (probability, count), by dictionaries in the text's order; `one` chooses the arithmetic."""
    probability = defaultdict(lambda: one)
    for _ in range(updates):
        counts, totals = defaultdict(lambda: 0 * one), defaultdict(lambda: 0 * one)
        for source, target in pairs:
            if not source:
                continue
            for new in target:
                total = sum(probability[old, new] for old in [NULL, *source])
                for old in [NULL, *source]:
                    share = probability[old, new] / total
                    counts[old, new] += share
                    totals[old] += share
        probability = {key: count / totals[key[0]] for key, count in counts.items()}
    return {key: (probability[key], counts[key]) for key in counts}


def fitted(corpus, lines, *, likely=False, **options):
    (source, old), (target, new) = (corpus([line[side] for line in lines]) for side in (0, 1))
    found = fit_ibm1(source, target, **options)
    found = found.likely() if likely else found
    columns = (found.source, found.target, found.log_probability, found.count)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {(NULL if s < 0 else old[s], new[t]): (p, c) for s, t, p, c in rows}


def test_one_update_by_hand(corpus):
    """Posteriors are 1/2 each in "a | x" and 1/3 each in "a b | x y"."""
    found = fitted(corpus, [("a", "x"), ("a b", "x y")], updates=1)
    assert {key: (pytest.approx(math.exp(p)), pytest.approx(c)) for key, (p, c) in found.items()} == {
        (NULL, "x"): (5 / 7, 5 / 6),
        (NULL, "y"): (2 / 7, 1 / 3),
        ("a", "x"): (5 / 7, 5 / 6),
        ("a", "y"): (2 / 7, 1 / 3),
        ("b", "x"): (1 / 2, 1 / 3),
        ("b", "y"): (1 / 2, 1 / 3),
    }


@pytest.mark.parametrize("updates", [1, 2, UPDATES])
def test_small_corpus_in_rational_arithmetic(corpus, updates):
    """With a word that occurs twice in a line, on either side, and lines that are blank on one side."""
    lines = [("das haus", "the house"), ("das das buch", "the book book"), ("ein buch", "a book"), ("", "x"), ("y", "")]
    wanted = by_the_definition([(s.split(), t.split()) for s, t in lines], updates, Fraction(1))
    found = fitted(corpus, lines, updates=updates)
    assert found.keys() == wanted.keys()
    for key, (p, c) in found.items():
        assert math.exp(p) == pytest.approx(float(wanted[key][0]), rel=1e-13)
        assert c == pytest.approx(float(wanted[key][1]), rel=1e-13)


def test_blocks_do_not_show(corpus, monkeypatch):
    lines = [("a b c", "x y"), ("b", "y y z"), ("", "z"), ("c a", "x"), ("d", "w")]
    whole = fitted(corpus, lines)
    monkeypatch.setattr("salt_ext.alignment.ibm1._BLOCK", 3)
    parted = fitted(corpus, lines)
    assert parted.keys() == whole.keys()
    for key, row in parted.items():
        assert row == pytest.approx(whole[key], rel=1e-13)


def test_probabilities_sum_to_one_and_counts_to_the_target(corpus):
    rng = np.random.default_rng(0)
    words = [[" ".join(f"{letter}{n}" for n in rng.integers(0, 30, rng.integers(1, 9))) for _ in range(200)]
             for letter in "st"]  # fmt: skip
    found = fitted(corpus, list(zip(*words, strict=True)))
    sums = defaultdict(float)
    for (old, _), (p, _) in found.items():
        sums[old] += math.exp(p)
    assert all(total == pytest.approx(1) for total in sums.values())
    assert sum(c for _, c in found.values()) == pytest.approx(sum(len(line.split()) for line in words[1]))


def test_unlikely_translations_are_left_out(corpus):
    """By ln p < 4 ln max p of the source word, of the null word too."""
    lines = [("a", "x")] * 40 + [("a b", "x y")]
    every, kept = fitted(corpus, lines), fitted(corpus, lines, likely=True)
    best = {old: max(p for (other, _), (p, _) in every.items() if other == old) for old, _ in every}
    assert kept == {key: row for key, row in every.items() if row[0] >= 4 * best[key[0]]}
    assert 0 < len(kept) < len(every)


def test_progress_and_repeatability(corpus):
    (source, _), (target, _) = corpus(["a b"] * 3), corpus(["x y"] * 3)
    told = []
    first = fit_ibm1(source, target, progress=lambda *done: told.append(done))
    assert told == [(n, UPDATES) for n in range(1, UPDATES + 1)]
    assert np.array_equal(first.count, fit_ibm1(source, target).count)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [(["a"], ["x", "y"], "source text has 1 lines and target text 2"), (["a", ""], ["", "x"], "none of the 2 pairs")],
)
def test_nothing_to_align(corpus, source, target, message):
    with pytest.raises(InputError, match=message):
        fit_ibm1(corpus(source)[0], corpus(target)[0])


@pytest.fixture(scope="module")
def golden(real_data):
    lines = (real_data / "aligned/ibm1.en-de.units.txt").read_text(encoding="utf-8").split("\n")[:-1]
    rows = (real_data / "aligned/ibm1.en-de.golden.tsv").read_text(encoding="utf-8").split("\n")[:-1]
    cells = (row.split("\t") for row in rows)
    return [tuple(line.split(" ||| ")) for line in lines], {(s, t): (float(p), float(c)) for s, t, p, c in cells}


def test_real_text_against_the_transcription(corpus, golden):
    """Every row and both columns, 119,900 pairs."""
    lines, _ = golden
    wanted = by_the_definition([(s.split(), t.split()) for s, t in lines], UPDATES, 1.0)
    found = fitted(corpus, lines)
    assert found.keys() == wanted.keys()
    for key, (p, c) in found.items():
        assert c == pytest.approx(wanted[key][1], rel=1e-9, abs=1e-290)
        assert p == pytest.approx(math.log(wanted[key][0]) if wanted[key][0] else -math.inf, abs=1e-9)


def test_golden_table_of_fast_align(corpus, golden):
    """As near as a program gets that loses counts: fast_align's threads add to the same table without a lock.

    The table shows it: the expected counts of each update must sum to the 17,208 target units, and here 6.7 of them
    are gone, from pairs of lines that stand side by side ("goal : ..." five times in a row, one count of 0.97 less).
    """
    lines, table = golden
    every, found = fitted(corpus, lines), fitted(corpus, lines, likely=True)
    totals = {old: c / math.exp(p) for (old, _), (p, c) in table.items()}
    assert sum(c for _, c in every.values()) == pytest.approx(17208)
    assert 17208 - sum(totals.values()) == pytest.approx(6.65, abs=0.1)

    assert table.keys() <= every.keys()
    assert len(table.keys() ^ found.keys()) <= 25  # of 25,266; all of words whose counts differ
    log_errors = np.array([abs(every[key][0] - p) for key, (p, _) in table.items()])
    count_errors = np.array([abs(every[key][1] / c - 1) for key, (_, c) in table.items()])
    for errors in (log_errors, count_errors):
        assert np.median(errors) < 1e-4
        assert np.quantile(errors, 0.9) < 2e-3
        assert np.quantile(errors, 0.99) < 2e-2
    # One update more or less, no null word, or another prior is hundreds of times as far away.
    for updates in (UPDATES - 1, UPDATES + 1):
        other = fitted(corpus, lines, updates=updates)
        assert np.median([abs(other[key][0] - p) for key, (p, _) in table.items()]) > 0.05
