"""The executable specification: every op in plain float64 PyTorch, slow and independent of csrc.

Each function has the signature of its op in `salt_ext.ops` and returns the same shapes and dtypes. The arithmetic is
float64 whatever the input dtype; only the result is rounded to the dtype that the op returns. Inputs are taken as
valid: the checks live in `salt_ext.ops`. Nothing here is fast, and nothing here shares a line with the compiled ops.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["cosine_sparsemax", "cosine_topk", "csr_matmul", "default_rcond", "lstsq_weights", "omp", "transfer"]


def _cosines(queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Cosine matrix [Q, K] in float64, and which queries [Q] and keys [K] have a direction (a non-zero norm)."""
    q, k = queries.double(), keys.double()
    # Scaling by the largest element first keeps the squares of huge and tiny rows inside float64's range.
    q_max = q.abs().amax(dim=1, keepdim=True) if q.shape[1] else q.new_zeros(q.shape[0], 1)
    k_max = k.abs().amax(dim=1, keepdim=True) if k.shape[1] else k.new_zeros(k.shape[0], 1)
    q = q / q_max.where(q_max > 0, 1.0)
    k = k / k_max.where(k_max > 0, 1.0)
    q = q / q.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    k = k / k.norm(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    return q @ k.T, q_max[:, 0] > 0, k_max[:, 0] > 0


def _sparsemax(scores: Tensor) -> Tensor:
    """Sparsemax of one vector (Martins & Astudillo 2016, algorithm 1): the projection onto the simplex."""
    ordered = scores.sort(descending=True).values
    cumulative = ordered.cumsum(0)
    count = torch.arange(1, len(scores) + 1, dtype=scores.dtype)
    support = int((1 + count * ordered > cumulative).sum())
    threshold = (cumulative[support - 1] - 1) / support
    return (scores - threshold).clamp_min(0)


def cosine_sparsemax(queries: Tensor, keys: Tensor, *, temperature: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """See `salt_ext.ops.cosine_sparsemax`."""
    cosines, query_ok, key_ok = _cosines(queries, keys)
    valid = key_ok.nonzero()[:, 0]
    counts, columns, values = [0], [], []
    for row in range(queries.shape[0]):
        nnz = 0
        if bool(query_ok[row]) and len(valid):
            weights = _sparsemax(cosines[row, valid] / temperature).to(queries.dtype)
            chosen = weights > 0
            columns.append(valid[chosen])
            values.append(weights[chosen])
            nnz = int(chosen.sum())
        counts.append(nnz)
    crow = torch.tensor(counts, dtype=torch.int64).cumsum(0)
    if not columns:
        return crow, torch.empty(0, dtype=torch.int64), queries.new_empty(0)
    return crow, torch.cat(columns), torch.cat(values)


def cosine_topk(queries: Tensor, keys: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """See `salt_ext.ops.cosine_topk`."""
    cosines, query_ok, key_ok = _cosines(queries, keys)
    cosines = cosines.masked_fill(~(query_ok[:, None] & key_ok[None, :]), -torch.inf)
    # A stable sort keeps equal similarities in the order of their columns.
    values, indices = cosines.sort(dim=1, descending=True, stable=True)
    values, indices = values[:, :k], indices[:, :k]
    return values.to(queries.dtype), indices.masked_fill(values == -torch.inf, -1)


def default_rcond(dtype: torch.dtype, k: int, h: int) -> float:
    """max(k, h) * eps as `torch.linalg.pinv`; float16 and bfloat16 count as float32, where the product would pass 1."""
    return max(k, h) * torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32).eps


def _row_weights(query: Tensor, rows: Tensor, p: Tensor, ridge: float, intercept: bool, rcond: float) -> Tensor:
    """The k weights of one query, by the singular value decomposition of the scaled rows; everything float64."""
    k = rows.shape[0]
    centre = p @ rows if intercept else torch.zeros_like(query)
    scale = (k * p).sqrt()
    u, s, vh = torch.linalg.svd(scale[:, None] * (rows - centre), full_matrices=False)
    shift = ridge * float((s**2).sum()) / k
    spectrum = s**2 + shift
    kept = (spectrum > rcond**2 * spectrum.max()) if len(spectrum) else spectrum.bool()
    gains = torch.where(kept, s / spectrum.where(kept, 1.0), 0.0)
    weights: Tensor = scale * (u @ (gains * (vh @ (query - centre))))
    return weights + p * (1 - weights.sum()) if intercept else weights


def _solve(
    crow_indices: Tensor,
    col_indices: Tensor,
    queries: Tensor,
    anchors: Tensor,
    sample_weights: Tensor | None,
    ridge: float,
    intercept: bool,
    rcond: float | None,
) -> Tensor:
    """The weights of every row in float64; `queries.dtype` decides nothing but the default of rcond."""
    values = torch.zeros(col_indices.shape[0], dtype=torch.float64)
    bounds = crow_indices.tolist()
    for row, (begin, end) in enumerate(pairwise(bounds)):
        k = end - begin
        if not k:
            continue
        p = torch.full((k,), 1 / k, dtype=torch.float64)
        if sample_weights is not None:
            p = sample_weights[begin:end].double()
            p = p / p.sum()
        rows = anchors[col_indices[begin:end]].double()
        cutoff = default_rcond(queries.dtype, k, rows.shape[1]) if rcond is None else rcond
        values[begin:end] = _row_weights(queries[row].double(), rows, p, ridge, intercept, cutoff)
    return values


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
    """See `salt_ext.ops.lstsq_weights`."""
    values = _solve(crow_indices, col_indices, queries, anchors, sample_weights, ridge, intercept, rcond)
    return values.to(queries.dtype)


def csr_matmul(crow_indices: Tensor, col_indices: Tensor, values: Tensor, dense: Tensor) -> Tensor:
    """See `salt_ext.ops.csr_matmul`."""
    rows = torch.repeat_interleave(torch.arange(len(crow_indices) - 1), crow_indices.diff())
    out = torch.zeros(len(crow_indices) - 1, dense.shape[1], dtype=torch.float64)
    out.index_add_(0, rows, values.double()[:, None] * dense.double()[col_indices])
    return out.to(dense.dtype)


def omp(queries: Tensor, atoms: Tensor, k: int, *, tolerance: float = 0.0) -> tuple[Tensor, Tensor]:
    """See `salt_ext.ops.omp`."""
    indices = torch.full((queries.shape[0], k), -1, dtype=torch.int64)
    weights = torch.zeros(queries.shape[0], k, dtype=queries.dtype)
    a = atoms.double()
    norms = a.norm(dim=1)
    for row, q in enumerate(queries.double()):
        noise = 1e-12 if queries.dtype == torch.float64 else 1e-5
        chosen: list[int] = []
        solution = q.new_empty(0)
        residual = q
        basis = q.new_zeros(0, q.shape[0])  # orthonormal rows that span the chosen atoms
        while len(chosen) < min(k, *a.shape) and float(residual.norm()) > max(tolerance, 1e-12) * float(q.norm()):
            correlations = (a @ residual).abs()
            # What the chosen atoms span already cannot improve the fit: never choose an atom that lies in it.
            outside = (a - (a @ basis.T) @ basis).norm(dim=1)
            correlations[outside <= 1e-6 * norms] = -1.0
            best = int(correlations.argmax())
            if float(correlations[best]) <= noise * float(norms[best] * residual.norm()):
                break
            chosen.append(best)
            direction = a[best] - (a[best] @ basis.T) @ basis
            direction = direction - (direction @ basis.T) @ basis
            basis = torch.cat([basis, (direction / direction.norm())[None]])
            solution = torch.linalg.lstsq(a[chosen].T, q[:, None]).solution[:, 0]
            residual = q - solution @ a[chosen]
        indices[row, : len(chosen)] = torch.tensor(chosen, dtype=torch.int64)
        weights[row, : len(chosen)] = solution.to(weights.dtype)
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
    """See `salt_ext.ops.transfer`: the three steps in float64, rounded once at the end."""
    # The support is that of the float64 sparsemax: a weight that only a narrow dtype would lose still counts.
    crow, col, weights = cosine_sparsemax(aux_new.double(), aux_shared.double(), temperature=temperature)
    sample_weights = weights if intercept else None
    values = _solve(crow, col, donor_new, donor_shared, sample_weights, ridge, intercept, rcond)
    return csr_matmul(crow, col, values, source_shared.double()).to(source_shared.dtype)
