"""A look at an embedding table before and after a transfer: its hash, its norms, and that every number is finite."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from salt_ext.checkpoint.reading import byte_view
from salt_ext.errors import InputError

_BLOCK_BYTES = 16 << 20


@dataclass(frozen=True)
class TableFacts:
    """What a report says of a table.

    Attributes:
        sha256: of the table's bytes, padding rows included.
        norms: float64 [rows], the Euclidean norm of every token's row.
        mean_norm: that of the mean of the tokens' rows.
    """

    sha256: str
    norms: Tensor
    mean_norm: float


def examine_table(table: Tensor, *, name: str, tokens: Sequence[str | None]) -> TableFacts:
    """Reads a table once, in blocks.

    Args:
        table: [at least len(tokens), ...] floating; rows beyond the tokens are padding, which may hold anything.
        name: what to call it in the message.
        tokens: spelling by id.

    Raises:
        InputError: the row of a token holds NaN or infinity.
    """
    flat = table.reshape(table.shape[0], -1)
    digest = hashlib.sha256()
    norms = torch.empty(len(tokens), dtype=torch.float64)
    total = torch.zeros(flat.shape[1], dtype=torch.float64)
    step = max(1, _BLOCK_BYTES // (8 * max(1, flat.shape[1])))
    for begin in range(0, flat.shape[0], step):
        block = flat[begin : begin + step].contiguous()
        digest.update(byte_view(block))
        used = block[: max(0, len(tokens) - begin)]
        norms[begin : begin + len(used)], finite = norms_and_finite(used)
        total += used.sum(dim=0, dtype=torch.float64)
        if not bool(finite.all()):
            row = begin + int((~finite).nonzero()[0])
            raise InputError(f"{name} holds NaN or infinity in row {row} ({tokens[row]!r}), expected finite numbers")
    return TableFacts(digest.hexdigest(), norms, float(total.norm()) / max(1, len(tokens)))


def norms_and_finite(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Euclidean norms, and which rows hold finite numbers only.

    A finite norm proves a finite row, and costs a twentieth of torch's own test of half-precision numbers; only float64
    rows can be finite and have a norm that is not.

    Args:
        rows: floating [n, width].

    Returns:
        float64 [n] and bool [n].
    """
    norms = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    finite = norms.isfinite()
    return norms, finite if bool(finite.all()) else rows.isfinite().all(dim=1)
