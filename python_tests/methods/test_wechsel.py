"""WECHSEL: the rotation against scipy's Procrustes, the rows against the formula in float64, what is copied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes

from salt_ext.errors import InputError
from salt_ext.methods.wechsel import Wechsel
from salt_ext.vectors import FastTextFile, open_vectors
from salt_ext.vectors.aligned import fit_rotation, read_dictionary

from .conftest import Languages, World, close, softmax_of_nearest, write_vectors


@pytest.fixture
def languages(world, tmp_path) -> tuple[World, Languages]:
    w = world(30, 15)
    return w, Languages(tmp_path, w)


def test_rows_with_a_dictionary(languages):
    w, both = languages
    combined = Wechsel(**both.options, dictionary=both.dictionary).combine(w.material())
    # Upper and title case have no vector of their own here, so each pair is s1 with t1 and S1 with none.
    known, count = {*both.source_words}, len(both.pairs)
    assert not known & {word.title() for word in known}
    rotation = orthogonal_procrustes(both.source[:count], both.target[:count])[0]
    assert np.abs(rotation - both.turn).max() < 0.1
    expected = softmax_of_nearest(both.target, both.source @ rotation, w.table[1:].astype(np.float64), 10, 0.1)
    close(w.rows(combined)[1:], expected, 1e-4)
    assert combined.facts == {"dictionary_pairs": 45}


def test_without_a_dictionary_both_are_in_one_space(languages):
    w, both = languages
    combined = Wechsel(**both.options, neighbours=4, temperature=0.3).combine(w.material())
    close(
        w.rows(combined)[1:],
        softmax_of_nearest(both.target, both.source, w.table[1:].astype(np.float64), 4, 0.3),
        1e-4,
    )


def test_what_is_copied(languages):
    """Special tokens, byte pieces and the user's pairs, and shared text without a vector."""
    w, both = languages
    kinds = w.pairs.kinds.astype(object)
    kinds[[2, 3]] = ["byte", "mapped"]
    w.pairs = replace(w.pairs, kinds=kinds.astype(np.str_))
    both.target[4] = 0
    write_vectors(Path(both.options["target_vectors"].removeprefix("vectors:")), both.target_words, both.target)
    w.source = replace(w.source, byte_ids=frozenset({7}))
    combined = Wechsel(**both.options).combine(w.material())
    assert sorted(set(range(w.target.size)) - set(combined.target_ids.tolist())) == [0, 2, 3, 5]
    assert not {0, 7} & set(combined.source_ids.tolist())


def test_spellings_count_as_often_as_they_come(tmp_path):
    """One pair of words, each known in lower and in title case: as they are, lower, title, each with each."""
    generator = np.random.default_rng(0)
    source, target = generator.normal(size=(2, 3)), generator.normal(size=(2, 3))
    files = [
        open_vectors(write_vectors(tmp_path / name, words, vectors))
        for name, words, vectors in (("s", ["cat", "Cat"], source), ("t", ["katze", "Katze"], target))
    ]
    (tmp_path / "d.tsv").write_text("cat\tkatze\n")
    spelled = [(i, j) for i in (0, 0, 1) for j in (0, 0, 1)]
    left, right = (side.astype(np.float32).astype(np.float64) for side in (source, target))
    expected = orthogonal_procrustes(left[[i for i, _ in spelled]], right[[j for _, j in spelled]])[0]
    found = fit_rotation(*files, tmp_path / "d.tsv")
    assert np.abs(found.matrix - expected).max() < 1e-12
    assert found.pairs == 4


def test_words_that_fasttext_makes_of_ngrams_do_not_count(real_data, tmp_path):
    vectors = FastTextFile(real_data / "models" / "de-fasttext.bin")
    words = ["und", "Undbutnotreally", "der"]
    assert vectors.has_words(words).tolist() == [True, False, True]
    assert vectors.lookup(words).any(axis=1).all()
    (tmp_path / "d.tsv").write_text("".join(f"{word}\t{word}\n" for word in words))
    # und, Und, der, Der: all four spellings of two pairs where title case is known as well.
    known = [vectors.has_words([word, word.title()]).sum() for word in ("und", "der")]
    assert fit_rotation(vectors, vectors, tmp_path / "d.tsv").pairs == sum(count**2 for count in known)


def test_a_real_dictionary_is_read(real_data):
    pairs = read_dictionary(real_data / "dict" / "wiktionary.en-de.tsv")
    assert pairs[0] == ("free", "frei")
    assert all(left and right for left, right in pairs)


def test_dictionaries_of_the_wrong_kind(languages, tmp_path):
    w, both = languages

    def message(text: str) -> str:
        path = tmp_path / "bad.tsv"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(InputError) as error:
            Wechsel(**both.options, dictionary=path).combine(w.material())
        return str(error.value)

    turned = "".join(f"{target}\t{source}\n" for source, target in both.pairs)
    assert "is the wrong way round: 0 of 45 pairs" in message(turned)
    assert "none of its 1 pairs has both words" in message("Hund\tcat\n")
    assert "line 2 is 'only'" in message("a\tb\nonly\n")
    assert "line 1 is 'a\\tb\\tc'" in message("a\tb\tc\n")
    assert "line 1 is b'\\xff'" in message("\udcff\n")
    assert message("") == f"dictionary {tmp_path / 'bad.tsv'}: is empty"


def test_a_small_dictionary_warns(languages, tmp_path):
    w, both = languages
    small = tmp_path / "small.tsv"
    small.write_text("s0 t0\ns1 t1\n")
    (warning,) = Wechsel(**both.options, dictionary=small).combine(w.material()).warnings
    assert warning.startswith("2 pairs of")
    assert "fewer than the 9 dimensions" in warning


def test_bad_input(languages, tmp_path):
    w, both = languages
    with pytest.raises(InputError, match=r"source_vectors: auxiliary vectors /nowhere.vec: no such file"):
        Wechsel(**both.options | {"source_vectors": "vectors:/nowhere.vec"})
    with pytest.raises(InputError, match=r"dictionary /nowhere.tsv: no such file"):
        Wechsel(**both.options, dictionary=Path("/nowhere.tsv"))
    with pytest.raises(InputError, match=r"^neighbours is 61, but only 60 source tokens"):
        Wechsel(**both.options, neighbours=61).combine(w.material())
    narrow = write_vectors(tmp_path / "narrow", both.target_words, both.target[:, :4])
    for dictionary in (None, both.dictionary):
        with pytest.raises(InputError, match=r"9 dimensions.* 4"):
            Wechsel(**both.options | {"target_vectors": narrow}, dictionary=dictionary).combine(w.material())
