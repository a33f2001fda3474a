"""Writers of vector files, made from the formats' descriptions and sharing nothing with the readers."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@dataclass
class FastTextBytes:
    """A small fastText file, section by section, so that a test can falsify any of them."""

    words: Sequence[bytes] = (b"</s>", b"Haus", "Tür".encode(), b"a", "日本".encode())
    labels: Sequence[bytes] = ()
    dim: int = 7
    claimed_dim: int | None = None
    bucket: int = 11
    minn: int = 2
    maxn: int = 4
    model: int = 2
    magic: int = 793712314
    version: int = 12
    quantised: int = 0
    pruned: Sequence[tuple[int, int]] | None = None
    header: tuple[int, int, int] | None = None
    types: Sequence[int] | None = None
    rows: int | None = None
    columns: int | None = None
    vectors: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        generator = np.random.default_rng(5)
        self.vectors = generator.normal(size=(len(self.words) + self.bucket, self.dim)).astype("<f4")

    def sections(self) -> dict[str, bytes]:
        entries = [*self.words, *self.labels]
        types = self.types or [0] * len(self.words) + [1] * len(self.labels)
        sizes = self.header or (len(entries), len(self.words), len(self.labels))
        pruned = self.pruned or ()
        dim = self.dim if self.claimed_dim is None else self.claimed_dim
        return {
            "magic": struct.pack("<ii", self.magic, self.version),
            "arguments": struct.pack(
                "<12id", dim, 5, 5, 1, 5, 1, 2, self.model, self.bucket, self.minn, self.maxn, 100, 1e-4
            ),
            "dictionary header": struct.pack("<iiiqq", *sizes, 1000, -1 if self.pruned is None else len(pruned)),
            "dictionary": b"".join(
                word + b"\0" + struct.pack("<qb", 256, kind) for word, kind in zip(entries, types, strict=True)
            ),
            "pruned": b"".join(struct.pack("<ii", *pair) for pair in pruned),
            "quantised": struct.pack("<B", self.quantised),
            "input header": struct.pack(
                "<qq",
                len(self.vectors) if self.rows is None else self.rows,
                self.dim if self.columns is None else self.columns,
            ),
            "input": self.vectors.tobytes(),
            "output header": struct.pack("<Bqq", 0, len(self.words), self.dim),
            "output": np.zeros((len(self.words), self.dim), "<f4").tobytes(),
        }

    def write(self, path: Path) -> Path:
        path.write_bytes(b"".join(self.sections().values()))
        return path


@pytest.fixture
def fasttext_bytes() -> Callable[..., FastTextBytes]:
    return FastTextBytes


@pytest.fixture
def word2vec_bytes() -> Callable[..., bytes]:
    def build(words: Sequence[bytes], vectors: Any, *, newline: bytes = b"", header: bytes | None = None) -> bytes:
        table = np.asarray(vectors, dtype="<f4")
        start = b"%d %d\n" % table.shape if header is None else header
        return start + b"".join(w + b" " + row.tobytes() + newline for w, row in zip(words, table, strict=True))

    return build
