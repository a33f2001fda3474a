"""What the ops are compared with on the same GPU: the same algorithm in PyTorch, and the published sparse coder."""

from __future__ import annotations

import torch
from torch import Tensor

# Bytes of gathered rows that are worked on at once: enough to fill the device.
_BATCH = 1 << 30
# A row's largest similarities that are sorted; a support that reaches this far gets a full sort.
_CANDIDATES = 256


def batched_transfer(
    aux_new: Tensor, aux_shared: Tensor, donor_new: Tensor, donor_shared: Tensor, source: Tensor
) -> Tensor:
    """SALT by batched torch calls: one product per block of tokens, a top-k instead of a sort where that is enough,
    then one batch of float64 Cholesky solves per support size."""
    columns, sizes = _supports(aux_new, aux_shared)
    out = source.new_zeros(len(aux_new), source.shape[1])
    for k in sizes.unique().tolist():
        if k == 0:
            continue
        rows = (sizes == k).nonzero()[:, 0]
        width = 8 * donor_shared.shape[1] + source.element_size() * source.shape[1]
        for part in rows.split(max(1, _BATCH // (k * width))):
            support = columns[part, :k] if k <= columns.shape[1] else _all_columns(aux_new[part], aux_shared, k)
            out[part] = _solve(donor_new[part], donor_shared[support], source[support])
    return out


def _supports(aux_new: Tensor, aux_shared: Tensor) -> tuple[Tensor, Tensor]:
    """For every token the most similar anchors, the best first, and how many of them sparsemax keeps."""
    keys = torch.nn.functional.normalize(aux_shared).T.contiguous()
    limit = min(_CANDIDATES, len(aux_shared))
    columns, sizes = [], []
    for block in aux_new.split(max(1, _BATCH // (4 * len(aux_shared)))):
        scores = torch.nn.functional.normalize(block) @ keys
        ordered = scores.topk(limit, dim=1)
        size = _kept(ordered.values)
        full = (size == limit).nonzero()[:, 0] if limit < len(aux_shared) else size.new_empty(0)
        if len(full):
            size[full] = _kept(scores[full].sort(dim=1, descending=True).values)
        columns.append(ordered.indices)
        sizes.append(size)
    return torch.cat(columns), torch.cat(sizes)


def _kept(ordered: Tensor) -> Tensor:
    """Size of the support of sparsemax (Martins & Astudillo 2016, algorithm 1) of rows that descend."""
    count = torch.arange(1, ordered.shape[1] + 1, device=ordered.device)
    return (1 + count * ordered > ordered.cumsum(1)).sum(1)


def _all_columns(aux_new: Tensor, aux_shared: Tensor, k: int) -> Tensor:
    scores = torch.nn.functional.normalize(aux_new) @ torch.nn.functional.normalize(aux_shared).T
    return scores.topk(k, dim=1).indices


def _solve(queries: Tensor, anchors: Tensor, sources: Tensor) -> Tensor:
    """w = (A Aᵀ)⁻¹ A q in float64, then w B; the pseudo-inverse for rows that Cholesky refuses."""
    a, q = anchors.double(), queries.double()[:, :, None]
    factor, failed = torch.linalg.cholesky_ex(a @ a.mT)
    weights = torch.cholesky_solve(a @ q, factor)
    bad = failed.nonzero()[:, 0]
    if len(bad):
        weights[bad] = torch.linalg.pinv(a[bad].mT) @ q[bad]
    return (weights.mT.to(sources.dtype) @ sources)[:, 0]


def literal_transfer(
    aux_new: Tensor, aux_shared: Tensor, donor_new: Tensor, donor_shared: Tensor, source: Tensor
) -> Tensor:
    """The paper's letter in float64, token by token: sorting sparsemax, A⁺, w B. For a sample."""
    scores = torch.nn.functional.normalize(aux_new.double()) @ torch.nn.functional.normalize(aux_shared.double()).T
    ordered = scores.sort(dim=1, descending=True)
    rows = []
    for t, k in enumerate(_kept(ordered.values).tolist()):
        support = ordered.indices[t, :k]
        rows.append(
            donor_new[t].double() @ torch.linalg.pinv(donor_shared[support].double()) @ source[support].double()
        )
    return torch.stack(rows)


def published_omp(queries: Tensor, atoms: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The algorithm of tokensurgeon's batch_omp (Goddard & Fernandes Neto 2025), written anew.

    All correlations at every step, Gram-Schmidt on the chosen atoms, one triangular solve at the end; all in float32.
    """
    count, width = queries.shape
    everyone = torch.arange(count, device=queries.device)
    basis = queries.new_zeros(count, width, k)
    triangle = queries.new_zeros(count, k, k)
    chosen = torch.zeros(count, k, dtype=torch.int64, device=queries.device)
    taken = torch.zeros(count, len(atoms), dtype=torch.bool, device=queries.device)
    residual = queries.clone()
    for step in range(k):
        correlation = (residual @ atoms.T).abs_().masked_fill_(taken, -torch.inf)
        best = correlation.argmax(dim=1)
        chosen[:, step] = best
        taken[everyone, best] = True
        atom = atoms[best]
        so_far = basis[:, :, :step]
        inside = torch.bmm(so_far.mT, atom[:, :, None])
        outside = atom - torch.bmm(so_far, inside)[:, :, 0]
        norm = outside.norm(dim=1).clamp_min(1e-8)
        triangle[:, :step, step] = inside[:, :, 0]
        triangle[:, step, step] = norm
        basis[:, :, step] = outside / norm[:, None]
        now = basis[:, :, : step + 1]
        residual = queries - torch.bmm(now, torch.bmm(now.mT, queries[:, :, None]))[:, :, 0]
    right = torch.bmm(basis.mT, queries[:, :, None])
    return chosen, torch.linalg.solve_triangular(triangle, right, upper=True)[:, :, 0]
