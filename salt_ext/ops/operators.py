"""The ops, typed and documented: thin wrappers over `torch.ops.salt.*` that raise user errors as ValueError.

All take tensors of float32, float64, float16 or bfloat16 with any strides, on the CPU (or on a GPU where
`salt_ext.backends()` says so), and give bit-identical results for any number of threads. The float64 definition of each
op is the function of the same name in `salt_ext.ops.reference`; accumulators and tie rules stand in `csrc/ops/<op>.h`.

Shapes: Q queries (new tokens), K keys or anchors, D auxiliary, h donor and H source dimensions, nnz stored weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from salt_ext.errors import InputError
from salt_ext.ops import checks as _checks

__all__ = ["cosine_sparsemax", "cosine_topk", "csr_matmul", "lstsq_weights", "omp", "transfer"]

_INPUT_ERROR_TAG = "[salt] "  # kInputErrorTag in csrc/common/check.h


@contextmanager
def _input_errors() -> Iterator[None]:
    """Turns the kernels' findings about the data (NaN, bad indices) into ValueErrors, and names what ran out."""
    try:
        yield
    except MemoryError:
        raise MemoryError("out of memory: the result or the working memory of this call does not fit") from None
    except RuntimeError as error:
        message = str(error).splitlines()[0]
        if _INPUT_ERROR_TAG not in message:
            raise
        raise InputError(message.split(_INPUT_ERROR_TAG, 1)[1]) from None


def cosine_sparsemax(queries: Tensor, keys: Tensor, *, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """The support of every query among the keys: row-wise sparsemax(cosine / temperature), as canonical CSR.

    The Q x K similarity matrix is never stored. The support is exact for the inputs as given, whatever their dtype.
    A query of norm zero has an empty row; a key of norm zero is never chosen.

    Args:
        queries: [Q, D] floating point.
        keys: [K, D], dtype and device of queries.
        temperature: positive; smaller is sparser.

    Returns:
        crow_indices [Q + 1] int64, col_indices [nnz] int64 (ascending within a row), values [nnz] in the dtype of
        queries (positive, summing to 1 within a row).

    Raises:
        ValueError: NaN or infinity, a mismatch of shapes, dtypes or devices, a temperature that is not above 0.

    Source: Lee et al. 2025 (SALT), section 3; sparsemax: Martins & Astudillo 2016, algorithm 1.
    """
    _checks.strided(queries=queries, keys=keys)
    with _input_errors():
        crow_indices, col_indices, values = torch.ops.salt.cosine_sparsemax(queries, keys, temperature=temperature)
    return crow_indices, col_indices, values


def cosine_topk(queries: Tensor, keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k keys of highest cosine similarity for every query, best first; equal similarities rank by index.

    Args:
        queries: [Q, D] floating point.
        keys: [K, D], dtype and device of queries.
        k: 1 to K.

    Returns:
        values [Q, k] in the dtype of queries, indices [Q, k] int64. A query of norm zero has no similarities, and a key
        of norm zero is never chosen: slots that stay unused hold -inf and -1.

    Raises:
        ValueError: NaN or infinity, a mismatch of shapes, dtypes or devices, k outside 1..K.
    """
    _checks.strided(queries=queries, keys=keys)
    with _input_errors():
        values, indices = torch.ops.salt.cosine_topk(queries, keys, k)
    return values, indices


def lstsq_weights(
    crow_indices: Tensor,
    col_indices: Tensor,
    queries: Tensor,
    anchors: Tensor,
    *,
    sample_weights: Tensor | None = None,
    ridge: float = 0.0,
    intercept: bool = False,
    rcond: float | None = None,
) -> Tensor:
    """The weights with which each query is a combination of its own anchors: w = q A⁺ per row, without forming A⁺B.

    Row r with support N has A = anchors[N] (k x h). With sample_weights p, row i of A is scaled by sqrt(k p_i) and w_i
    scaled back; ridge adds ridge * mean(diag(A Aᵀ)) to the Gram matrix's diagonal; intercept solves around the
    p-weighted mean of the anchors, and then the weights sum to 1. ridge = 0 is SALT; ridge → ∞ with intercept and
    sparsemax weights is FOCUS.

    Args:
        crow_indices: [Q + 1] int64, from `cosine_sparsemax` or any canonical CSR of Q x K.
        col_indices: [nnz] int64.
        queries: [Q, h] floating point.
        anchors: [K, h], dtype and device of queries.
        sample_weights: [nnz] floating point, at least 0, divided by their sum within each row; None: equal weights.
        ridge: at least 0, relative to the mean squared norm of the row's anchors.
        intercept: whether the regression is affine.
        rcond: singular values s of A with s² + λ <= rcond² (s_max² + λ) count as zero, where λ is what ridge adds.
            None: max(k, h) * eps of the dtype of queries, as torch.linalg.pinv (float16 and bfloat16 count as float32).

    Returns:
        values [nnz] in the dtype of queries, in the order of col_indices.

    Raises:
        ValueError: NaN or infinity, indices that are not canonical CSR, a mismatch of shapes, dtypes or devices,
            negative options, sample_weights that are negative or all zero in a row.

    Source: Lee et al. 2025, section 3 (X = A⁺B); FOCUS: Dobler & de Melo 2023.
    """
    _checks.strided(
        crow_indices=crow_indices,
        col_indices=col_indices,
        queries=queries,
        anchors=anchors,
        sample_weights=sample_weights,
    )
    with _input_errors():
        values: Tensor = torch.ops.salt.lstsq_weights(
            crow_indices,
            col_indices,
            queries,
            anchors,
            sample_weights=sample_weights,
            ridge=ridge,
            intercept=intercept,
            rcond=rcond,
        )
    return values


def csr_matmul(crow_indices: Tensor, col_indices: Tensor, values: Tensor, dense: Tensor) -> Tensor:
    """A sparse [Q, K] matrix times a dense [K, H] one: applies a plan to an embedding table.

    Accumulates in float32, or in float64 where values or dense are float64, and rounds once. Differentiable in values
    and dense. NaN and infinity in either propagate, as in torch.matmul.

    Args:
        crow_indices: [Q + 1] int64, canonical CSR.
        col_indices: [nnz] int64.
        values: [nnz] floating point; its dtype may differ from that of dense.
        dense: [K, H] floating point.

    Returns:
        [Q, H] in the dtype of dense. Empty rows are zero; a row of one entry of weight 1 is a bit-exact copy.

    Raises:
        ValueError: indices that are not canonical CSR, a mismatch of shapes or devices.
    """
    _checks.strided(crow_indices=crow_indices, col_indices=col_indices, values=values, dense=dense)
    with _input_errors():
        product: Tensor = torch.ops.salt.csr_matmul(crow_indices, col_indices, values, dense)
    return product


def omp(queries: Tensor, atoms: Tensor, k: int, *, tolerance: float = 0.0) -> tuple[Tensor, Tensor]:
    """Orthogonal matching pursuit: each query as a combination of at most k atoms, chosen greedily.

    Each step takes the atom of largest |<residual, atom>| and refits the query on all chosen atoms by least squares.
    Atoms are taken as they are; give unit vectors for the textbook's rule.

    Args:
        queries: [Q, D] floating point.
        atoms: [K, D], dtype and device of queries.
        k: at least 1.
        tolerance: stops a query at a residual norm of tolerance times its own norm; at least 0.

    Returns:
        indices [Q, k] int64 and weights [Q, k] in the dtype of queries, in the order of choice. Slots that stay unused
        (an exact fit, no independent atom left) hold -1 and 0.

    Raises:
        ValueError: NaN or infinity, a mismatch of shapes, dtypes or devices, k below 1, a negative tolerance.

    Source: Goddard & Fernandes Neto 2025 (tokensurgeon); batch-OMP: Rubinstein, Zibulevsky & Elad 2008.
    """
    _checks.strided(queries=queries, atoms=atoms)
    with _input_errors():
        indices, weights = torch.ops.salt.omp(queries, atoms, k, tolerance=tolerance)
    return indices, weights


def transfer(
    aux_new: Tensor,
    aux_shared: Tensor,
    donor_new: Tensor,
    donor_shared: Tensor,
    source_shared: Tensor,
    *,
    temperature: float = 1.0,
    ridge: float = 0.0,
    intercept: bool = False,
    rcond: float | None = None,
) -> Tensor:
    """SALT for arrays: the source-space embedding of every new token, in one fused op with O(block) working memory.

    For each new token: the support N by `cosine_sparsemax` of the auxiliary vectors, the weights w = E_t[t] A⁺ by
    `lstsq_weights` on the donor's rows, and the embedding w E_s[N] by `csr_matmul`. The sparsemax weights serve as
    sample_weights where intercept is set; without it every anchor counts alike, as in the paper.

    Args:
        aux_new: [Q, D] auxiliary vectors of the new tokens.
        aux_shared: [K, D] auxiliary vectors of the anchors, dtype of aux_new.
        donor_new: [Q, h] donor embeddings of the new tokens.
        donor_shared: [K, h] donor embeddings of the anchors, dtype of donor_new.
        source_shared: [K, H] source embeddings of the anchors, any floating dtype.
        temperature: see `cosine_sparsemax`.
        ridge: see `lstsq_weights`.
        intercept: see `lstsq_weights`.
        rcond: see `lstsq_weights`.

    Returns:
        [Q, H] in the dtype of source_shared. Rows whose auxiliary vector is zero are zero: sample or average them.

    Raises:
        ValueError: NaN or infinity, a mismatch of shapes, dtypes or devices, options out of range.

    Source: Lee et al. 2025 (SALT), section 3.
    """
    _checks.strided(
        aux_new=aux_new,
        aux_shared=aux_shared,
        donor_new=donor_new,
        donor_shared=donor_shared,
        source_shared=source_shared,
    )
    with _input_errors():
        embeddings: Tensor = torch.ops.salt.transfer(
            aux_new,
            aux_shared,
            donor_new,
            donor_shared,
            source_shared,
            temperature=temperature,
            ridge=ridge,
            intercept=intercept,
            rcond=rcond,
        )
    return embeddings
