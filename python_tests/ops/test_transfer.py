"""transfer against the paper's letter: A⁺ by numpy, X formed, e = E_t[t] X, all in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import sparsemax
from torch import Tensor

from salt_ext import ops
from salt_ext.ops import reference

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def literal_salt(
    aux_new: Tensor, aux_shared: Tensor, donor_new: Tensor, donor_shared: Tensor, source: Tensor
) -> Tensor:
    """Lee et al. 2025, section 3, line by line."""
    f_new, f_shared = (x.double().cpu().numpy() for x in (aux_new, aux_shared))
    e_t, e_shared, e_s = (x.double().cpu().numpy() for x in (donor_new, donor_shared, source))
    rows = []
    for t in range(len(f_new)):
        c = f_shared @ f_new[t] / (np.linalg.norm(f_shared, axis=1) * np.linalg.norm(f_new[t]))
        chosen = np.nonzero(sparsemax(c))[0]
        x = np.linalg.pinv(e_shared[chosen]) @ e_s[chosen]
        rows.append(e_t[t] @ x)
    return torch.tensor(np.array(rows))


def inputs(q: int, k: int, d: int, h: int, source_width: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    aux = torch.randn(40, d)[torch.randint(40, (q + k,))] + 1.3 * torch.randn(q + k, d)
    donor = torch.randn(q + k, h)
    return aux[:q], aux[q:], donor[:q], donor[q:], torch.randn(k, source_width)


def relative_errors(found: Tensor, expected: Tensor) -> Tensor:
    return (found.double() - expected).norm(dim=1) / expected.norm(dim=1)


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize(
    ("q", "k", "d", "h", "width"),
    [(1, 1, 3, 4, 5), (40, 300, 32, 96, 65), (200, 500, 50, 64, 128), (9, 1000, 100, 300, 1)],
)
def test_equals_the_papers_letter(dtype: torch.dtype, q: int, k: int, d: int, h: int, width: int) -> None:
    tensors = [t.to(dtype) for t in inputs(q, k, d, h, width)]
    found = ops.transfer(*tensors)
    assert found.dtype == dtype
    assert bool((relative_errors(found, literal_salt(*tensors)) <= TOLERANCE[dtype]).all())


def test_pairs_may_have_dtypes_of_their_own() -> None:
    aux_new, aux_shared, donor_new, donor_shared, source = inputs(30, 200, 24, 80, 40)
    found = ops.transfer(aux_new, aux_shared, donor_new.half(), donor_shared.half(), source.bfloat16())
    assert found.dtype == torch.bfloat16
    expected = literal_salt(aux_new, aux_shared, donor_new.half(), donor_shared.half(), source.bfloat16())
    assert bool((relative_errors(found, expected) <= 2e-2).all())


@pytest.mark.parametrize("options", [{"temperature": 0.3}, {"ridge": 0.5}, {"intercept": True, "ridge": 2.0}], ids=str)
def test_options_equal_the_definition(options: dict[str, float]) -> None:
    tensors = inputs(60, 300, 32, 96, 20)
    expected = reference.transfer(*tensors, **options).double()
    assert bool((relative_errors(ops.transfer(*tensors, **options), expected) <= 1e-4).all())


def test_is_the_three_ops_in_a_row() -> None:
    aux_new, aux_shared, donor_new, donor_shared, source = inputs(100, 400, 32, 96, 20)
    crow, col, _p = ops.cosine_sparsemax(aux_new, aux_shared)
    w = ops.lstsq_weights(crow, col, donor_new, donor_shared)
    expected = ops.csr_matmul(crow, col, w, source).double()
    found = ops.transfer(aux_new, aux_shared, donor_new, donor_shared, source)
    assert bool((relative_errors(found, expected) <= 1e-5).all())


def test_a_token_that_is_its_own_anchor_gets_exactly_its_source_row() -> None:
    _, aux_shared, _, donor_shared, source = inputs(1, 400, 32, 96, 70)
    found = ops.transfer(aux_shared, aux_shared, donor_shared, donor_shared, source)
    assert torch.equal(found, source)


def test_linear_tables_give_the_projection() -> None:
    """Where E_s = E_t M the answer is known: E_t[t] projected on the span of its support, times M."""
    aux_new, aux_shared, donor_new, donor_shared, _ = (t.double() for t in inputs(50, 300, 32, 60, 1))
    m = torch.randn(60, 45, dtype=torch.float64)
    found = ops.transfer(aux_new, aux_shared, donor_new, donor_shared, donor_shared @ m)
    crow, col, _p = reference.cosine_sparsemax(aux_new, aux_shared)
    for t in range(50):
        rows = donor_shared[col[crow[t] : crow[t + 1]]]
        basis = torch.linalg.svd(rows, full_matrices=False).Vh
        expected = donor_new[t] @ basis.T @ basis @ m
        assert (found[t] - expected).norm() <= 1e-10 * expected.norm()


def test_duplicate_anchors() -> None:
    aux_new, aux_shared, donor_new, donor_shared, source = inputs(30, 100, 32, 64, 20)
    doubled = [torch.cat([t, t]) for t in (aux_shared, donor_shared, source)]
    found = ops.transfer(aux_new, doubled[0], donor_new, doubled[1], doubled[2])
    expected = literal_salt(aux_new, doubled[0], donor_new.double(), doubled[1].double(), doubled[2])
    assert bool((relative_errors(found, expected) <= 1e-4).all())


def test_rows_without_support_are_zero() -> None:
    aux_new, aux_shared, donor_new, donor_shared, source = inputs(5, 30, 8, 12, 6)
    aux_new[3] = 0
    found = ops.transfer(aux_new, aux_shared, donor_new, donor_shared, source)
    assert (found == 0).all(dim=1).tolist() == [False, False, False, True, False]
    assert bool((ops.transfer(aux_new, torch.zeros(30, 8), donor_new, donor_shared, source) == 0).all())
    nothing = ops.transfer(aux_new, aux_shared[:0], donor_new, donor_shared[:0], source[:0])
    assert torch.equal(nothing, torch.zeros(5, 6))
    assert ops.transfer(aux_new[:0], aux_shared, donor_new[:0], donor_shared, source).shape == (0, 6)


def test_threads_do_not_change_a_bit() -> None:
    tensors = inputs(500, 400, 24, 64, 33)
    torch.set_num_threads(1)
    one = ops.transfer(*tensors)
    torch.set_num_threads(2)
    assert torch.equal(ops.transfer(*tensors), one)
    # Nor do the other tokens of the call.
    tail = ops.transfer(tensors[0][450:], tensors[1], tensors[2][450:], *tensors[3:])
    assert torch.equal(tail, one[450:])
