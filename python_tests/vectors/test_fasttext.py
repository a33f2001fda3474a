"""fastText files against gensim and against files written here by hand."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from salt_ext.errors import InputError
from salt_ext.vectors import FastTextFile, open_vectors

UNSEEN = [
    "Donaudampfschiff",
    "äöüß",
    "🙂",
    "🙂🙂",
    "a🙂b",
    "x",
    "é",
    "日本語",
    "ẞ",
    "<",
    ">",
    "<>",
    "naïve",
    "\u0301",
    "a b",
]


def by_gensim(path: Path, texts: list[str]) -> np.ndarray:
    gensim = pytest.importorskip("gensim.models.fasttext")
    vectors = gensim.load_facebook_vectors(str(path))
    return np.stack([vectors[text] for text in texts])


def test_every_word_and_unseen_words_equal_gensim(real_data):
    gensim = pytest.importorskip("gensim.models.fasttext")
    path = real_data / "models" / "de-fasttext.bin"
    oracle = gensim.load_facebook_vectors(str(path))
    texts = [*oracle.key_to_index, *UNSEEN]
    source = open_vectors(f"fasttext:{path}")
    assert source.dim == 100
    assert len(oracle.key_to_index) == 29145
    np.testing.assert_allclose(source.lookup(texts), np.stack([oracle[text] for text in texts]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("minn", "maxn"), [(2, 4), (1, 1), (1, 3), (3, 6), (5, 20), (0, 2)])
@pytest.mark.parametrize("bucket", [1, 11, 4093])
def test_ngram_lengths_and_buckets_equal_gensim(tmp_path, fasttext_bytes, minn, maxn, bucket):
    path = fasttext_bytes(minn=minn, maxn=maxn, bucket=bucket).write(tmp_path / "a.bin")
    # Where no n-gram is long enough, gensim has no vector at all.
    unseen = [text for text in UNSEEN if len(text) + 2 >= minn and minn <= maxn and (maxn > 1 or len(text) > 1)]
    texts = ["Haus", "Tür", "a", "日本", *unseen]
    np.testing.assert_allclose(FastTextFile(path).lookup(texts), by_gensim(path, texts), atol=1e-6, rtol=0)


def test_vector_by_hand(tmp_path, fasttext_bytes):
    """ "<é>" of 2 characters or more: "<é", "<é>", "é>"; the hash runs over sign-extended bytes."""

    def fnv(ngram: bytes) -> int:
        state = 2166136261
        for byte in ngram:
            state = ((state ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619) & 0xFFFFFFFF
        return state

    file = fasttext_bytes(bucket=101)
    source = FastTextFile(file.write(tmp_path / "a.bin"))
    ngrams = [b"<\xc3\xa9", b"<\xc3\xa9>", b"\xc3\xa9>"]
    rows = [len(file.words) + fnv(ngram) % 101 for ngram in ngrams]
    np.testing.assert_allclose(source.lookup(["é"])[0], file.vectors[rows].mean(axis=0), atol=1e-6)


def test_end_of_sentence_has_no_ngrams(tmp_path, fasttext_bytes):
    file = fasttext_bytes()
    source = FastTextFile(file.write(tmp_path / "a.bin"))
    np.testing.assert_array_equal(source.lookup(["Haus", "</s>"])[1], file.vectors[0])
    without = FastTextFile(fasttext_bytes(words=[b"Haus"]).write(tmp_path / "b.bin"))
    assert not without.lookup(["</s>"]).any()


def test_without_ngrams_unseen_words_have_no_vector(tmp_path, fasttext_bytes):
    for bucket in (0, 11):
        file = fasttext_bytes(minn=0, maxn=0, bucket=bucket)
        found = FastTextFile(file.write(tmp_path / "a.bin")).lookup(["Haus", "Mauer", "Tür", "haus"])
        np.testing.assert_array_equal(found[[0, 2]], file.vectors[[1, 2]])
        assert not found[[1, 3]].any()


def test_absent_texts_are_zero_rows(tmp_path, fasttext_bytes):
    source = FastTextFile(fasttext_bytes().write(tmp_path / "a.bin"))
    found = source.lookup([None, "", "Haus", "\ud800", "Haus"])
    assert found.dtype == np.float32
    assert found.shape == (5, 7)
    assert found.any(axis=1).tolist() == [False, False, True, False, True]
    np.testing.assert_array_equal(found[2], found[4])
    assert source.lookup([]).shape == (0, 7)


def test_first_of_equal_words_wins_and_undecodable_words_are_passed_over(tmp_path, fasttext_bytes):
    file = fasttext_bytes(words=[b"b", b"\xff\xfe", b"a", b"b", b""], maxn=0)
    source = FastTextFile(file.write(tmp_path / "a.bin"))
    np.testing.assert_array_equal(source.lookup(["b", "a"]), file.vectors[[0, 2]])


def test_labels_are_not_words(tmp_path, fasttext_bytes):
    file = fasttext_bytes(words=[b"a"], labels=[b"__label__x"], maxn=0)
    found = FastTextFile(file.write(tmp_path / "a.bin")).lookup(["a", "__label__x"])
    np.testing.assert_array_equal(found[0], file.vectors[0])
    assert not found[1].any()


def test_many_texts_equal_one_by_one(tmp_path, fasttext_bytes):
    source = FastTextFile(fasttext_bytes(maxn=6).write(tmp_path / "a.bin"))
    texts = [f"Wort{i}" for i in range(3000)] + ["lang" * 2000, "kurz"]
    together = source.lookup(texts)
    for i in [0, 1, 545, 1700, 2999, 3000, 3001]:
        np.testing.assert_array_equal(together[i], source.lookup([texts[i]])[0])


def test_version_11_is_read(tmp_path, fasttext_bytes):
    file = fasttext_bytes(version=11)
    new = FastTextFile(fasttext_bytes().write(tmp_path / "b.bin"))
    old = FastTextFile(file.write(tmp_path / "a.bin"))
    np.testing.assert_array_equal(old.lookup(UNSEEN), new.lookup(UNSEEN))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"magic": 7}, "starts with 7, expected fastText's magic number"),
        ({"version": 13}, "version 13, expected 11 or 12"),
        ({"claimed_dim": -3}, "vectors of -3 dimensions"),
        ({"claimed_dim": 2**31 - 1}, "vectors of 2147483647 dimensions"),
        ({"model": 3}, "supervised classifier"),
        ({"model": 9}, "model type 9"),
        ({"bucket": -1}, "-1 n-gram buckets"),
        ({"bucket": 0}, "0 n-gram buckets"),
        ({"bucket": 12}, "input matrix of 16 x 7, expected 17 x 7"),
        ({"quantised": 1}, "is quantised (.ftz)"),
        ({"quantised": 1, "pruned": [(1, 2)], "model": 3}, "is quantised (.ftz)"),
        ({"pruned": [(1, 2), (3, 4)]}, "pruned dictionary"),
        ({"pruned": []}, "pruned dictionary"),
        ({"header": (-1, -1, 0)}, "claims -1 entries"),
        ({"header": (5, 6, -1)}, "claims 5 entries"),
        ({"header": (2**31 - 1, 2**31 - 1, 0)}, "truncated or corrupt: a dictionary of 2,147,483,647 entries"),
        ({"header": (6, 6, 0)}, "corrupt"),
        ({"header": (4, 4, 0)}, "expected"),
        ({"types": [0, 1, 0, 0, 0]}, "dictionary entry 2 has the wrong type"),
        ({"rows": -16}, "input matrix of -16 x 7"),
        ({"rows": 2**62}, "input matrix of"),
        ({"columns": 8}, "input matrix of 16 x 8"),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path, fasttext_bytes, change, message):
    file = fasttext_bytes()
    for name, value in change.items():
        setattr(file, name, value)
    path = file.write(tmp_path / "wrong.bin")
    with pytest.raises(InputError) as caught:
        FastTextFile(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_every_truncation_is_refused(tmp_path, fasttext_bytes):
    whole = b"".join(fasttext_bytes().sections().values())
    path = tmp_path / "cut.bin"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"truncated or corrupt|is empty"):
            FastTextFile(path)


def test_endless_word_is_refused(tmp_path, fasttext_bytes):
    sections = fasttext_bytes().sections()
    path = tmp_path / "a.bin"
    path.write_bytes(sections["magic"] + sections["arguments"] + sections["dictionary header"] + b"x" * 3_000_000)
    with pytest.raises(InputError, match="dictionary entry 1 of 5 does not end"):
        FastTextFile(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_vector_is_refused_where_it_is_asked_for(tmp_path, fasttext_bytes, value):
    file = fasttext_bytes(maxn=0)
    file.vectors[2, 3] = value
    source = FastTextFile(file.write(tmp_path / "a.bin"))
    assert source.lookup(["Haus"]).any()
    with pytest.raises(InputError, match=r"a\.bin: the vector of 'Tür' holds NaN or infinity"):
        source.lookup(["Haus", "Tür"])


@pytest.mark.slow
def test_a_3_gb_file_costs_little_memory(tmp_path, fasttext_bytes):
    """All but the first rows is a hole; the reader must neither copy nor touch it."""
    file = fasttext_bytes(dim=300, bucket=0)
    buckets, words = 2_500_000, len(file.words)
    file.bucket, file.rows = buckets, words + buckets
    sections = list(file.sections().values())
    path = tmp_path / "big.bin"
    with path.open("wb") as out:
        out.write(b"".join(sections[:8]))
        out.seek(buckets * 300 * 4, 1)
        out.write(b"".join(sections[8:]))
    assert path.stat().st_size > 3e9
    script = f"""
import re
from pathlib import Path
from salt_ext.vectors import open_vectors
def kib(field):
    return int(re.search(field + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = kib("VmRSS")
source = open_vectors({f"fasttext:{path}"!r})
found = source.lookup([f"Wort{{i}}" for i in range(50)] + ["Haus"])
print(kib("VmHWM") - before, found.any(axis=1).sum())
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root)
    grown, found = map(int, done.stdout.split())
    assert found == 1
    assert grown < 200 * 1024


def test_counts_with_nul_bytes_do_not_split_words(tmp_path, fasttext_bytes):
    """The counts written here are 256, whose first byte is NUL: words end at the first NUL, not the next."""
    sections = fasttext_bytes().sections()
    assert struct.pack("<q", 256) in sections["dictionary"]
    source = FastTextFile(fasttext_bytes(maxn=0).write(tmp_path / "a.bin"))
    assert source.lookup(["</s>", "Haus", "Tür", "a", "日本"]).any(axis=1).all()
