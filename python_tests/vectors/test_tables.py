"""word2vec binary and text files and token tables, against gensim and hand-written files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from salt_ext.errors import InputError
from salt_ext.vectors import open_vectors

WORDS = ["Haus", "Tür", "der", "日本", "🙂"]
TABLE = np.random.default_rng(3).normal(size=(5, 6)).astype(np.float32)


def in_order(spec):
    """Look the words up in another order, among texts that have no vector."""
    found = open_vectors(spec).lookup(["der", None, "haus", "Haus", "", "🙂", "\ud800", "Haus"])
    assert found.dtype == np.float32
    assert not found[[1, 2, 4, 6]].any()
    return found[[0, 3, 5, 7]]


EXPECTED = TABLE[[2, 0, 4, 0]]


@pytest.mark.parametrize(("binary", "ending"), [(True, ".bin"), (False, ".vec"), (False, ".txt")])
def test_files_that_gensim_writes(tmp_path, binary, ending):
    models = pytest.importorskip("gensim.models")
    vectors = models.KeyedVectors(vector_size=6)
    vectors.add_vectors(WORDS, TABLE)
    path = tmp_path / f"a{ending}"
    vectors.save_word2vec_format(str(path), binary=binary)
    np.testing.assert_allclose(in_order(f"vectors:{path}"), EXPECTED, atol=1e-7)
    again = models.KeyedVectors.load_word2vec_format(str(path), binary=binary)
    np.testing.assert_array_equal(open_vectors(f"vectors:{path}").lookup(WORDS), np.stack([again[w] for w in WORDS]))


@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_word2vec_with_and_without_newlines(tmp_path, word2vec_bytes, newline):
    path = tmp_path / "a.bin"
    path.write_bytes(word2vec_bytes([w.encode() for w in WORDS], TABLE, newline=newline))
    np.testing.assert_array_equal(in_order(f"vectors:{path}"), EXPECTED)


def test_word2vec_values_may_look_like_separators(tmp_path, word2vec_bytes):
    table = np.frombuffer(b" \n\n " * 6 + b"\n\n\n\n" * 6, dtype="<f4").reshape(2, 6)
    path = tmp_path / "a.bin"
    path.write_bytes(word2vec_bytes([b"x", b"y"], table, newline=b"\n"))
    np.testing.assert_array_equal(open_vectors(f"vectors:{path}").lookup(["y", "x"]), table[::-1])


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("end", ["\n", " \n", "\r\n"])
def test_text_with_and_without_header(tmp_path, header, end):
    lines = [f"{w} " + " ".join(repr(float(v)) for v in row) for w, row in zip(WORDS, TABLE, strict=True)]
    path = tmp_path / "a.vec"
    path.write_bytes(end.join(["5 6"] * header + lines + [""]).encode())
    np.testing.assert_array_equal(in_order(f"vectors:{path}"), EXPECTED)


@pytest.mark.parametrize("dtype", ["<f8", "<f4", "<f2", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path, dtype, order):
    np.save(tmp_path / "a.npy", np.asarray(TABLE, dtype=dtype, order=order))
    (tmp_path / "a.txt").write_text("\n".join(WORDS), encoding="utf-8")
    expected = EXPECTED.astype(dtype).astype(np.float32)
    np.testing.assert_array_equal(in_order(f"vectors:{tmp_path / 'a.npy'}"), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_safetensors(tmp_path, dtype):
    save_torch({"anything": torch.tensor(TABLE).to(dtype)}, tmp_path / "a.safetensors")
    (tmp_path / "tokens.txt").write_bytes("\r\n".join([*WORDS, ""]).encode())
    expected = torch.tensor(EXPECTED).to(dtype).float().numpy()
    np.testing.assert_array_equal(in_order(f"vectors:{tmp_path / 'a.safetensors'}"), expected)


@pytest.mark.parametrize("name", ["vectors", "embeddings"])
def test_safetensors_with_several_tensors_takes_the_named_one(tmp_path, name):
    save_file({"a": TABLE + 1, name: TABLE, "bias": TABLE[0]}, tmp_path / "a.safetensors")
    (tmp_path / "a.txt").write_text("\n".join(WORDS), encoding="utf-8")
    (tmp_path / "tokens.txt").write_text("the list of the same name is nearer", encoding="utf-8")
    np.testing.assert_array_equal(in_order(f"vectors:{tmp_path / 'a.safetensors'}"), EXPECTED)


def test_first_of_equal_words_wins(tmp_path, word2vec_bytes):
    table = [[1, 1], [2, 2], [3, 3]]
    (tmp_path / "a.bin").write_bytes(word2vec_bytes([b"x", b"y", b"x"], table))
    (tmp_path / "a.vec").write_text("x 1 1\ny 2 2\nx 3 3\n")
    np.save(tmp_path / "a.npy", np.array(table, dtype=np.float32))
    (tmp_path / "a.txt").write_text("x\ny\nx\n")
    for ending in (".bin", ".vec", ".npy"):
        found = open_vectors(f"vectors:{tmp_path / 'a'}{ending}").lookup(["x", "y"])
        np.testing.assert_array_equal(found, [[1, 1], [2, 2]])


def test_undecodable_words_are_passed_over(tmp_path, word2vec_bytes):
    (tmp_path / "a.bin").write_bytes(word2vec_bytes([b"\xff\xfe", b"x"], [[1, 1], [2, 2]]))
    (tmp_path / "a.vec").write_bytes(b"\xff\xfe 1 1\nx 2 2\n")
    for ending in (".bin", ".vec"):
        np.testing.assert_array_equal(open_vectors(f"vectors:{tmp_path / 'a'}{ending}").lookup(["x"]), [[2, 2]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x 1 2\ny 1 2\nz 1 2 3\n", "line 3 has a word and 3 values, expected 2"),
        ("3 2\nx 1 2\ny 1\n", "line 3 has a word and 1 values, expected 2"),
        ("x 1 2\ny 1  2\n", "line 2 has a word and 3 values, expected 2"),
        ("3 2\nx 1 2\ny 1 2\n", "holds 2 rows, expected 3 by its header"),
        ("1 2\nx 1 2\ny 1 2\n", "holds 2 rows, expected 1 by its header"),
        ("x 1 two\n", "line 1 holds a value that is not a number"),
        ("x 1 nan\n", "the vector of 'x' holds NaN or infinity"),
        ("x 1 1e60\n", "the vector of 'x' holds NaN or infinity"),
        ("word\n", "line 1 has vectors of 0 dimensions"),
        ("3 0\n", "line 1 has vectors of 0 dimensions"),
        ("\n\n", "line 1 has vectors of 0 dimensions"),
        ("3 999999999\nx 1\n", "line 1 has vectors of 999999999 dimensions"),
        ("", "is empty"),
        ("x" * 5_000_000, "line 1 is longer than 4,194,304 bytes"),
    ],
)
def test_wrong_text_names_file_and_line(tmp_path, text, message):
    path = tmp_path / "wrong.vec"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        open_vectors(f"vectors:{path}").lookup(["x"])
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"no header", "expected a line"),
        (b"5 6", "expected a line"),
        (b"-5 6\n", "expected a line"),
        (b"5 6 7\n", "expected a line"),
        (b"5 0\n", "vectors of 0 dimensions"),
        (b"5 99999999\n", "vectors of 99999999 dimensions"),
        (b"6 6\n", "corrupt"),
        (b"4 6\n", "goes on behind its 4 rows of 6 values"),
        (b"5 7\n", "corrupt"),
        (b"999999999999999999 65536\n", "truncated or corrupt: a table of 999,999,999,999,999,999 x 65536"),
    ],
)
def test_wrong_word2vec_headers(tmp_path, word2vec_bytes, header, message):
    path = tmp_path / "wrong.bin"
    path.write_bytes(word2vec_bytes([w.encode() for w in WORDS], np.ones((5, 6)), header=header))
    with pytest.raises(InputError) as caught:
        open_vectors(f"vectors:{path}")
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_every_truncation_of_word2vec_is_refused(tmp_path, word2vec_bytes):
    whole = word2vec_bytes([w.encode() for w in WORDS], TABLE)
    path = tmp_path / "cut.bin"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"cut\.bin"):
            open_vectors(f"vectors:{path}")


def test_non_finite_rows_are_refused_where_they_are_asked_for(tmp_path, word2vec_bytes):
    table = TABLE.copy()
    table[1, 2] = np.nan
    (tmp_path / "a.bin").write_bytes(word2vec_bytes([w.encode() for w in WORDS], table))
    np.save(tmp_path / "a.npy", table)
    save_file({"vectors": table.astype(np.float16)}, tmp_path / "a.safetensors")
    (tmp_path / "a.txt").write_text("\n".join(WORDS), encoding="utf-8")
    for ending in (".bin", ".npy", ".safetensors"):
        source = open_vectors(f"vectors:{tmp_path / 'a'}{ending}")
        assert source.lookup(["Haus"]).any()
        with pytest.raises(InputError, match="the vector of 'Tür' holds NaN or infinity"):
            source.lookup(["Haus", "Tür"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE[0], "holds float32 of shape (6,), expected floating point [rows, dim]"),
        (TABLE.astype(np.int8), "holds int8"),
        (np.array([{"a": 1}], dtype=object), "is not a readable .npy file"),
        (TABLE[:, :0], "vectors of 0 dimensions"),
        (TABLE[:4], "has 5 lines, expected 4"),
    ],
)
def test_wrong_npy(tmp_path, table, message):
    path = tmp_path / "a.npy"
    np.save(path, table, allow_pickle=True)
    (tmp_path / "a.txt").write_text("\n".join(WORDS), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        open_vectors(f"vectors:{path}")
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_wrong_safetensors(tmp_path):
    path = tmp_path / "a.safetensors"
    for tensors, message in [
        ({"a": TABLE, "b": TABLE}, "holds 2 2-D tensors"),
        ({"a": TABLE[0]}, "holds 0 2-D tensors"),
        ({"a": TABLE.astype(np.int32)}, "expected floating point"),
    ]:
        save_file(tensors, path)
        with pytest.raises(InputError, match=message):
            open_vectors(f"vectors:{path}")
    whole = path.read_bytes()
    for size in (3, 8, 40, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"is not a readable \.safetensors file"):
            open_vectors(f"vectors:{path}")


def test_token_list_is_missing_or_not_utf8(tmp_path):
    np.save(tmp_path / "a.npy", TABLE)
    with pytest.raises(InputError, match=r"no token list, expected .*a\.txt or .*tokens\.txt"):
        open_vectors(f"vectors:{tmp_path / 'a.npy'}")
    (tmp_path / "a.txt").write_bytes(b"a\nb\n\xff\xfe\nd\ne\n")
    with pytest.raises(InputError, match=r"a\.txt: line 3 is .*expected UTF-8"):
        open_vectors(f"vectors:{tmp_path / 'a.npy'}")
