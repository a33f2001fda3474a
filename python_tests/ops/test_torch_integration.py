"""The ops as citizens of torch: opcheck, torch.compile, torch.export, a plain script."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

import salt_ext

pytestmark = [pytest.mark.any_isa, pytest.mark.torch_machinery]

salt = torch.ops.salt


def samples(dtype: torch.dtype) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """One call of every op with every kind of argument; CPU and CUDA share them."""
    generator = torch.Generator(torch.get_default_device()).manual_seed(0)
    q, k, dense = (torch.randn(n, 16, generator=generator).to(dtype) for n in (12, 40, 40))
    crow, col, p = salt.cosine_sparsemax(q, k)
    return [
        (salt.cosine_sparsemax, (q, k), {"temperature": 0.5}),
        (salt.cosine_sparsemax, (q[:0], k), {}),
        (salt.cosine_topk, (q, k, 5), {}),
        (salt.lstsq_weights, (crow, col, q, k), {}),
        (salt.lstsq_weights, (crow, col, q, k), {"sample_weights": p, "ridge": 0.1, "intercept": True, "rcond": 1e-3}),
        (salt.csr_matmul, (crow, col, p, dense), {}),
        (salt.csr_matmul, (crow, col, p.clone().requires_grad_(), dense.clone().requires_grad_()), {}),
        (salt._csr_sampled_matmul, (crow, col, q.clone().requires_grad_(), dense.clone().requires_grad_()), {}),
        (salt.omp, (q, k, 3), {"tolerance": 0.1}),
        (salt.transfer, (q, k, q, k, dense), {"temperature": 2.0, "ridge": 0.1, "intercept": True, "rcond": 1e-4}),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_opcheck(dtype: torch.dtype) -> None:
    for op, args, options in samples(dtype):
        torch.library.opcheck(op, args, options)


class Mover(torch.nn.Module):
    def forward(
        self, aux_new: Tensor, aux_shared: Tensor, donor_new: Tensor, donor_shared: Tensor, source: Tensor
    ) -> Any:
        crow, col, p = salt_ext.ops.cosine_sparsemax(aux_new, aux_shared)
        focus = salt_ext.ops.csr_matmul(crow, col, p, source)
        salt_rows = torch.ops.salt.transfer(aux_new, aux_shared, donor_new, donor_shared, source)
        return focus, 2 * salt_rows


def arrays(new: int) -> tuple[Tensor, ...]:
    return torch.randn(new, 8), torch.randn(30, 8), torch.randn(new, 20), torch.randn(30, 20), torch.randn(30, 6)


def test_compile_without_a_graph_break() -> None:
    compiled = torch.compile(Mover(), fullgraph=True, backend="aot_eager")
    for new in (5, 9):  # the second call is another shape
        inputs = arrays(new)
        for found, expected in zip(compiled(*inputs), Mover()(*inputs), strict=True):
            assert torch.equal(found, expected)


def test_export_with_a_dynamic_number_of_tokens() -> None:
    tokens = torch.export.Dim("tokens", min=2)
    dynamic = ({0: tokens}, None, {0: tokens}, None, None)
    program = torch.export.export(Mover(), arrays(5), dynamic_shapes=dynamic)
    for new in (2, 17):
        inputs = arrays(new)
        for found, expected in zip(program.module()(*inputs), Mover()(*inputs), strict=True):
            assert torch.equal(found, expected)


def test_a_plain_script_calls_the_operator() -> None:
    script = """
import torch, salt_ext
t = torch.randn
rows = torch.ops.salt.transfer(t(4, 8), t(9, 8), t(4, 16), t(9, 16), t(9, 5, dtype=torch.bfloat16))
print(tuple(rows.shape), rows.dtype)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "(4, 5) torch.bfloat16"
