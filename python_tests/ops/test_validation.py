"""One test per precondition: a ValueError that names the argument, what was found and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from salt_ext import ops

pytestmark = pytest.mark.any_isa

A = torch.ones(3, 4)
CROW = torch.tensor([0, 2, 2, 3])
COL = torch.tensor([0, 2, 1])
NAN = torch.tensor([[1.0, torch.nan, 1, 1]]).expand(3, 4)
INF = torch.tensor([[1.0, 1, 1, -torch.inf]]).expand(3, 4)
META = A.to("meta")

CASES: list[tuple[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
    # the argument to blame, the op, its arguments
    ("queries", ops.cosine_sparsemax, (NAN, A), {}),
    ("queries", ops.cosine_sparsemax, (INF, A), {}),
    ("keys", ops.cosine_sparsemax, (A, NAN), {}),
    ("queries", ops.cosine_sparsemax, (A[0], A), {}),
    ("keys", ops.cosine_sparsemax, (A, A[:, :3]), {}),
    ("keys", ops.cosine_sparsemax, (A, A.double()), {}),
    ("keys", ops.cosine_sparsemax, (A, META), {}),
    ("queries", ops.cosine_sparsemax, (A.int(), A.int()), {}),
    ("queries", ops.cosine_sparsemax, (A.to_sparse(), A), {}),
    ("temperature", ops.cosine_sparsemax, (A, A), {"temperature": 0.0}),
    ("temperature", ops.cosine_sparsemax, (A, A), {"temperature": -1.0}),
    ("temperature", ops.cosine_sparsemax, (A, A), {"temperature": float("nan")}),
    ("keys", ops.cosine_topk, (A, INF, 1), {}),
    ("k", ops.cosine_topk, (A, A, 0), {}),
    ("k", ops.cosine_topk, (A, A, 4), {}),
    ("k", ops.cosine_topk, (A, A[:0], 1), {}),
    ("queries", ops.lstsq_weights, (CROW, COL, NAN, A), {}),
    ("anchors", ops.lstsq_weights, (CROW, COL, A, NAN), {}),
    ("anchors", ops.lstsq_weights, (CROW, COL, A, A[:, :2]), {}),
    ("anchors", ops.lstsq_weights, (CROW, COL, A, A.half()), {}),
    ("crow_indices", ops.lstsq_weights, (CROW[:3], COL, A, A), {}),
    ("crow_indices", ops.lstsq_weights, (CROW.int(), COL, A, A), {}),
    ("crow_indices", ops.lstsq_weights, (torch.tensor([1, 2, 2, 3]), COL, A, A), {}),
    ("crow_indices", ops.lstsq_weights, (torch.tensor([0, 2, 1, 3]), COL, A, A), {}),
    ("crow_indices", ops.lstsq_weights, (torch.tensor([0, 2, 2, 2]), COL, A, A), {}),
    ("crow_indices", ops.lstsq_weights, (torch.tensor([0, 5, 2, 3]), COL, A, A), {}),
    ("crow_indices", ops.lstsq_weights, (torch.empty(0).long(), COL, A, A), {}),
    ("col_indices", ops.lstsq_weights, (CROW, COL.float(), A, A), {}),
    ("col_indices", ops.lstsq_weights, (CROW, torch.tensor([2, 0, 1]), A, A), {}),
    ("col_indices", ops.lstsq_weights, (CROW, torch.tensor([1, 1, 1]), A, A), {}),
    ("col_indices", ops.lstsq_weights, (CROW, torch.tensor([0, 3, 1]), A, A), {}),
    ("col_indices", ops.lstsq_weights, (CROW, torch.tensor([-1, 2, 1]), A, A), {}),
    ("sample_weights", ops.lstsq_weights, (CROW, COL, A, A), {"sample_weights": torch.ones(2)}),
    ("sample_weights", ops.lstsq_weights, (CROW, COL, A, A), {"sample_weights": torch.tensor([1.0, -1, 1])}),
    ("sample_weights", ops.lstsq_weights, (CROW, COL, A, A), {"sample_weights": torch.tensor([0.0, 0, 1])}),
    ("sample_weights", ops.lstsq_weights, (CROW, COL, A, A), {"sample_weights": torch.tensor([1.0, torch.nan, 1])}),
    ("ridge", ops.lstsq_weights, (CROW, COL, A, A), {"ridge": -0.1}),
    ("rcond", ops.lstsq_weights, (CROW, COL, A, A), {"rcond": float("inf")}),
    ("values", ops.csr_matmul, (CROW, COL, torch.ones(2), A), {}),
    ("values", ops.csr_matmul, (CROW, COL, torch.ones(3).long(), A), {}),
    ("dense", ops.csr_matmul, (CROW, COL, torch.ones(3), A[0]), {}),
    ("dense", ops.csr_matmul, (CROW, COL, torch.ones(3), META), {}),
    ("col_indices", ops.csr_matmul, (CROW, torch.tensor([0, 3, 1]), torch.ones(3), A), {}),
    ("crow_indices", ops.csr_matmul, (torch.tensor([0, 3, 2, 3]), COL, torch.ones(3), A), {}),
    ("queries", ops.omp, (INF, A, 1), {}),
    ("atoms", ops.omp, (A, NAN, 1), {}),
    ("atoms", ops.omp, (A, A[:, 1:], 1), {}),
    ("k", ops.omp, (A, A, 0), {}),
    ("tolerance", ops.omp, (A, A, 1), {"tolerance": -1.0}),
    ("aux_new", ops.transfer, (NAN, A, A, A, A), {}),
    ("aux_shared", ops.transfer, (A, NAN, A, A, A), {}),
    ("donor_new", ops.transfer, (A, A, NAN, A, A), {}),
    ("donor_shared", ops.transfer, (A, A, A, NAN, A), {}),
    ("source_shared", ops.transfer, (A, A, A, A, NAN), {}),
    ("aux_shared", ops.transfer, (A, A.half(), A, A, A), {}),
    ("donor_new", ops.transfer, (A, A, A[:2], A, A), {}),
    ("donor_shared", ops.transfer, (A, A, A, A[:2], A), {}),
    ("source_shared", ops.transfer, (A, A, A, A, A[:2]), {}),
    ("source_shared", ops.transfer, (A, A, A, A, META), {}),
    ("temperature", ops.transfer, (A, A, A, A, A), {"temperature": 0.0}),
    ("rcond", ops.transfer, (A, A, A, A, A), {"rcond": -1.0}),
]


def at_home(value: Any) -> Any:
    """The value where the test runs; the table of cases is made before that is known."""
    is_real = isinstance(value, torch.Tensor) and not value.is_meta
    return value.to(torch.get_default_device()) if is_real else value


@pytest.mark.parametrize(("argument", "op", "args", "options"), CASES)
def test_names_the_argument(
    argument: str, op: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=rf"^{argument}: found .*, expected ") as caught:
        op(*map(at_home, args), **{name: at_home(value) for name, value in options.items()})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("argument", "op", "args", "options"), CASES)
def test_the_raw_operators_refuse_the_same(
    argument: str, op: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """The kernels check for themselves: whoever calls torch.ops.salt directly gets an error, never a wrong answer."""
    raw = getattr(torch.ops.salt, op.__name__)
    with pytest.raises((RuntimeError, ValueError, NotImplementedError)):
        raw(*map(at_home, args), **{name: at_home(value) for name, value in options.items()})


def test_not_a_tensor_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="keys: found list"):
        ops.cosine_sparsemax(at_home(A), [[1.0]])  # type: ignore[arg-type]


def test_the_first_bad_row_is_named() -> None:
    keys = torch.randn(1000, 8)
    keys[517, 3] = torch.nan
    keys[900] = torch.inf
    with pytest.raises(ValueError, match="keys: found NaN or infinity in row 517"):
        ops.cosine_topk(torch.ones(1, 8), keys, 1)
