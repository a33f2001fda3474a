"""What open_vectors makes of its argument, and what mutated files may do to it."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import save_file

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


def mutations(whole, count, seed):
    """Files with bytes changed, cut out, doubled or replaced by extreme numbers, mostly near the start."""
    generator = np.random.default_rng(seed)
    extremes = [b"\xff" * 4, b"\x7f" * 8, b"\0" * 8, b"\xff\xff\xff\x7f", b"999999999", b"{", b"\n", b" "]
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(generator.integers(1, 4)):
            reach = len(data) if generator.random() < 0.4 else min(len(data), 200)
            at = int(generator.integers(0, max(reach, 1)))
            kind = generator.integers(0, 5)
            if kind == 0:
                data[at : at + 1] = generator.bytes(1)
            elif kind == 1:
                del data[at : at + int(generator.integers(1, 20))]
            elif kind == 2:
                data[at:at] = data[at : at + 16]
            elif kind == 3:
                value = extremes[int(generator.integers(0, len(extremes)))]
                data[at : at + len(value)] = value
            else:
                del data[at:]
        yield bytes(data)


@pytest.mark.parametrize(
    "kind", ["fasttext:a.bin", "vectors:a.bin", "vectors:a.vec", "vectors:a.npy", "vectors:a.safetensors"]
)
def test_mutated_files_raise_nothing_but_input_errors(tmp_path, fasttext_bytes, word2vec_bytes, kind):
    prefix, _, name = kind.partition(":")
    path = tmp_path / name
    words, table = [b"Haus", b"T\xc3\xbcr", b"der"], np.ones((3, 6), dtype=np.float32)
    if prefix == "fasttext":
        fasttext_bytes().write(path)
    elif name == "a.bin":
        path.write_bytes(word2vec_bytes(words, table, newline=b"\n"))
    elif name == "a.vec":
        path.write_bytes(b"3 6\n" + b"".join(word + b" 1 2 3 4 5 6 \n" for word in words))
    elif name == "a.npy":
        np.save(path, table)
    else:
        save_file({"vectors": table, "b": table[0]}, path)
    (tmp_path / "a.txt").write_bytes(b"\n".join(words))
    opened, messages = 0, []
    tracemalloc.start()
    for data in mutations(path.read_bytes(), 600, seed=17):
        path.write_bytes(data)
        try:
            found = open_vectors(f"{prefix}:{path}").lookup(["Haus", "der", "unseen", "🙂", None])
        except InputError as error:
            messages.append(str(error))
        else:
            assert np.isfinite(found).all()
            opened += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(str(tmp_path) in message and "\n" not in message for message in messages)
    # Numpy reports its buffers to tracemalloc: files of a few hundred bytes must not cost more than a line's buffer.
    assert peak < 16 << 20
    assert len(messages) > 100
    assert opened > 10
