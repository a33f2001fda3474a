"""csr_matmul and its gradients against dense float64 products."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from salt_ext import ops

TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-14, torch.float16: 6e-4, torch.bfloat16: 5e-3}


def random_csr(rows: int, columns: int, fill: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """crow, col, float64 values and the same as a dense matrix."""
    mask = torch.rand(rows, columns) < fill
    mask[rows // 2] = False  # an empty row
    dense = torch.randn(rows, columns, dtype=torch.float64) * mask
    crow = torch.cat([torch.zeros(1, dtype=torch.int64), mask.sum(1).cumsum(0)])
    return crow, mask.nonzero()[:, 1], dense[mask], dense


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("value_dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("rows", "columns", "width"), [(1, 1, 1), (60, 40, 7), (130, 90, 257), (3, 500, 4100)])
def test_equals_the_dense_product(
    dtype: torch.dtype, value_dtype: torch.dtype, rows: int, columns: int, width: int
) -> None:
    crow, col, values, sparse = random_csr(rows, columns, 0.3)
    values = values.to(value_dtype)
    sparse[sparse != 0] = values.double()
    dense = torch.randn(columns, width).to(dtype)
    found = ops.csr_matmul(crow, col, values, dense)
    assert found.dtype == dtype
    expected = sparse @ dense.double()
    scale = (sparse.abs() @ dense.double().abs()).clamp_min(1e-30)
    assert ((found.double() - expected).abs() / scale).max() <= TOLERANCE[dtype]
    assert bool((found[rows // 2] == 0).all())


@pytest.mark.parametrize("dtype", list(TOLERANCE))
def test_weight_one_copies_bits(dtype: torch.dtype) -> None:
    """A copied row must be the source's row bit for bit, negative zeros and subnormals included."""
    dense = torch.randn(20, 33).to(dtype)
    dense[:, ::3] = -0.0
    dense[:, 1::7] = torch.finfo(dtype).smallest_normal / 4
    col = torch.randint(20, (50,))
    found = ops.csr_matmul(torch.arange(51), col, torch.ones(50), dense)
    assert torch.equal(found.view(torch.uint8), dense[col].view(torch.uint8))


def test_float64_values_of_half_tables_round_once() -> None:
    """Rounding to float32 in between would hit float16's tie: 1 + 2^-11 + 2^-40 rounds up only in one step."""
    for dtype, tie in [(torch.float16, 2**-11), (torch.bfloat16, 2**-8)]:
        values = torch.tensor([1 + tie + 2**-40, 1 + tie, -(1 + tie + 2**-40), 2.0**-30 + 1], dtype=torch.float64)
        found = ops.csr_matmul(torch.arange(5), torch.zeros(4, dtype=torch.int64), values, torch.ones(1, 1).to(dtype))
        assert found[:, 0].tolist() == [1 + 2 * tie, 1.0, -(1 + 2 * tie), 1.0]


def test_nan_and_infinity_propagate() -> None:
    dense = torch.ones(2, 2)
    dense[0, 0], dense[1, 1] = torch.nan, torch.inf
    found = ops.csr_matmul(torch.tensor([0, 1, 2]), torch.tensor([0, 1]), torch.ones(2), dense)
    assert found[0].isnan().tolist() == [True, False]
    assert found[1].tolist() == [1, torch.inf]


@pytest.mark.parametrize(("rows", "columns", "width"), [(0, 4, 3), (3, 0, 2), (3, 4, 0)])
def test_empty_inputs(rows: int, columns: int, width: int) -> None:
    found = ops.csr_matmul(
        torch.zeros(rows + 1, dtype=torch.int64), torch.empty(0).long(), torch.empty(0), torch.ones(columns, width)
    )
    assert found.shape == (rows, width)
    assert bool((found == 0).all())


def test_threads_and_strides_do_not_change_a_bit() -> None:
    crow, col, values, _ = random_csr(300, 80, 0.2)
    dense = torch.randn(80, 65)
    torch.set_num_threads(1)
    one = ops.csr_matmul(crow, col, values.float(), dense)
    torch.set_num_threads(2)
    assert torch.equal(ops.csr_matmul(crow, col, values.float(), dense), one)
    padded = torch.zeros(80, 70)[:, 3:68]
    padded.copy_(dense)
    assert torch.equal(ops.csr_matmul(crow, col, values.float(), padded), one)
    assert torch.equal(ops.csr_matmul(crow, col, values.float(), dense.T.contiguous().T), one)


@pytest.mark.torch_machinery
def test_gradients() -> None:
    crow, col, values, _ = random_csr(9, 6, 0.4)
    dense = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    values.requires_grad_()
    assert torch.autograd.gradcheck(lambda v, d: ops.csr_matmul(crow, col, v, d), (values, dense))
    assert torch.autograd.gradgradcheck(lambda v, d: ops.csr_matmul(crow, col, v, d), (values, dense))


@pytest.mark.torch_machinery
def test_gradients_of_half_tables_keep_their_dtypes() -> None:
    crow, col, values, sparse = random_csr(40, 30, 0.3)
    dense = torch.randn(30, 8).bfloat16().requires_grad_()
    weights = values.float().requires_grad_()
    grad = torch.randn(40, 8).bfloat16()
    ops.csr_matmul(crow, col, weights, dense).backward(grad)
    assert weights.grad is not None
    assert dense.grad is not None
    assert (weights.grad.dtype, dense.grad.dtype) == (torch.float32, torch.bfloat16)
    full = grad.double() @ dense.detach().double().T
    assert torch.allclose(weights.grad.double(), full[sparse != 0], rtol=1e-5, atol=1e-5)
    assert torch.allclose(dense.grad.double(), sparse.T @ grad.double(), rtol=1e-2, atol=2e-2)
