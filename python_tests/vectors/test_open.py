"""What open_vectors makes of its argument."""

from __future__ import annotations

import numpy as np
import pytest

from salt_ext.errors import InputError
from salt_ext.vectors import open_vectors


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cc.de.300.bin", "fasttext:cc.de.300.bin for fastText, vectors:cc.de.300.bin for word2vec"),
        ("wiki.de.vec", "vectors:wiki.de.vec?"),
        ("glove:a.txt", "found 'glove:a.txt', expected fasttext:FILE.bin"),
        ("", "expected fasttext:FILE.bin"),
        ("donor", "expected fasttext:FILE.bin"),
        ("fasttext:", "without a file name"),
        ("vectors:a.zip", "has the ending '.zip', expected .vec, .txt, .bin, .npy, .safetensors"),
        ("fasttext:/nowhere/a.bin", "fastText file /nowhere/a.bin: no such file"),
        ("vectors:/nowhere/a.vec", "/nowhere/a.vec: no such file"),
        ("vectors:/nowhere/a.bin", "/nowhere/a.bin: no such file"),
        ("vectors:/nowhere/a.npy", "/nowhere/a.npy: no such file"),
        ("vectors:/nowhere/a.safetensors", "/nowhere/a.safetensors: no such file"),
    ],
)
def test_wrong_arguments(spec, message):
    with pytest.raises(InputError) as caught:
        open_vectors(spec)
    assert message in str(caught.value)


def test_folder_gzip_and_exchanged_formats(tmp_path, fasttext_bytes, word2vec_bytes):
    (tmp_path / "folder.bin").mkdir()
    (tmp_path / "packed.bin").write_bytes(b"\x1f\x8b\x08" + b"\0" * 100)
    fasttext_bytes().write(tmp_path / "fast.bin")
    (tmp_path / "w2v.bin").write_bytes(word2vec_bytes([b"x"], np.ones((1, 3))))
    for spec, message in [
        ("fasttext:{}/folder.bin", "is not a regular file"),
        ("fasttext:{}/packed.bin", "gzip-compressed"),
        ("vectors:{}/fast.bin", "is in fastText's binary format, use fasttext:"),
        ("fasttext:{}/w2v.bin", "expected fastText's magic number"),
    ]:
        with pytest.raises(InputError, match=message):
            open_vectors(spec.format(tmp_path))
