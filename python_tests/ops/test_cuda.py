"""What only a GPU can show: streams, devices, graphs, the same bits every time, memory, sizes beyond 32 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from salt_ext import ops

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")]

# Cycles that a stream sleeps before its inputs are there: far longer than any launch takes.
LONG = 200_000_000
GIB = 1 << 30


def clustered(rows: int, depth: int) -> Tensor:
    return torch.randn(40, depth)[torch.randint(40, (rows,))] + 1.3 * torch.randn(rows, depth)


def inputs() -> dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]:
    """One call of every op, of a size that fills the device."""
    queries, keys, donor_new, donor = (
        clustered(3000, 96),
        clustered(5000, 96),
        torch.randn(3000, 128),
        clustered(5000, 128),
    )
    crow, col, p = ops.cosine_sparsemax(queries, keys)
    source = torch.randn(5000, 257).bfloat16()
    return {
        "cosine_sparsemax": (ops.cosine_sparsemax, (queries, keys)),
        "cosine_topk": (ops.cosine_topk, (queries, keys, 20)),
        "lstsq_weights": (ops.lstsq_weights, (crow, col, donor_new, donor)),
        "csr_matmul": (ops.csr_matmul, (crow, col, p, source)),
        "omp": (ops.omp, (donor_new[:500], donor, 16)),
        "transfer": (ops.transfer, (queries, keys, donor_new, donor, source)),
    }


OPS = ["cosine_sparsemax", "cosine_topk", "lstsq_weights", "csr_matmul", "omp", "transfer"]


def results(call: tuple[Callable[..., Any], tuple[Any, ...]]) -> list[Tensor]:
    op, args = call
    found = op(*args)
    return list(found) if isinstance(found, tuple) else [found]


def assert_same_bits(found: list[Tensor], expected: list[Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a.cpu(), b.cpu())


@pytest.mark.parametrize("name", OPS)
def test_ten_times_the_same_bits(name: str) -> None:
    call = inputs()[name]
    first = results(call)
    for _ in range(9):
        assert_same_bits(results(call), first)


@pytest.mark.parametrize("name", OPS)
def test_the_current_stream_is_used(name: str) -> None:
    """The inputs arrive late on a side stream: an op that runs on another one reads zeros."""
    op, args = inputs()[name]
    expected = results((op, args))
    late = [torch.zeros_like(value) if isinstance(value, Tensor) else value for value in args]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(LONG)
        for to, value in zip(late, args, strict=True):
            if isinstance(to, Tensor):
                to.copy_(value)
        found = results((op, tuple(late)))
    side.synchronize()
    assert_same_bits(found, expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
@pytest.mark.parametrize("name", OPS)
def test_the_tensors_device_is_used(name: str) -> None:
    op, args = inputs()[name]
    expected = results((op, args))
    there = tuple(value.to("cuda:1") if isinstance(value, Tensor) else value for value in args)
    found = results((op, there))
    assert torch.cuda.current_device() == 0
    assert all(value.device == torch.device("cuda", 1) for value in found)
    assert_same_bits(found, expected)


@pytest.mark.parametrize("name", ["csr_matmul", "cosine_topk"])
def test_graph_capture(name: str) -> None:
    """Ops whose sizes are known beforehand can be recorded, and replayed on other contents."""
    op, args = inputs()[name]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        op(*args)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = op(*args)
    for value in args:
        if isinstance(value, Tensor) and value.is_floating_point():
            value.copy_(torch.randn_like(value))
    graph.replay()
    torch.cuda.synchronize()
    assert_same_bits(list(recorded) if isinstance(recorded, tuple) else [recorded], results((op, args)))


def test_gradients_have_the_same_bits_every_time() -> None:
    crow, col, p = ops.cosine_sparsemax(clustered(2000, 32), clustered(3000, 32))
    dense, grad = torch.randn(3000, 96), torch.randn(2000, 96)
    found = []
    for _ in range(5):
        weights, table = p.clone().requires_grad_(), dense.clone().requires_grad_()
        ops.csr_matmul(crow, col, weights, table).backward(grad)
        found.append((weights.grad, table.grad))
    assert all(torch.equal(a, b) for pair in found for a, b in zip(pair, found[0], strict=True))


def test_an_error_leaves_the_device_usable() -> None:
    queries = clustered(3000, 96)
    queries[2999, 95] = torch.nan
    with pytest.raises(ValueError, match="queries: found NaN or infinity in row 2999"):
        ops.cosine_sparsemax(queries, clustered(5000, 96))
    crow, col = torch.tensor([0, 1]), torch.tensor([7])
    with pytest.raises(ValueError, match="col_indices: found "):
        ops.csr_matmul(crow, col, torch.ones(1), torch.ones(3, 4))
    assert ops.csr_matmul(crow, col - 6, torch.ones(1), torch.ones(3, 4)).tolist() == [[1, 1, 1, 1]]


@pytest.mark.perf
@pytest.mark.parametrize(
    ("new", "anchors", "donor", "source", "dtype"),
    [(100_000, 30_000, 768, 2048, torch.float32), (250_000, 100_000, 1024, 4096, torch.bfloat16)],
)
def test_transfer_takes_less_than_two_gigabytes(
    new: int, anchors: int, donor: int, source: int, dtype: torch.dtype
) -> None:
    """Beside the inputs and the result, which has the size that was asked for."""
    tables = [clustered(new, 300), clustered(anchors, 300)]
    tables += [torch.randn(new, donor).to(dtype), torch.randn(anchors, donor).to(dtype)]
    tables.append(torch.randn(anchors, source).to(dtype))
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    made = ops.transfer(*tables)
    extra = torch.cuda.max_memory_allocated() - before - made.nbytes
    print(f"\ntransfer of {new} rows from {anchors}: {extra / 1e6:.0f} MB beside inputs and result", flush=True)
    assert extra < 2 * GIB
    assert bool(made.isfinite().all())


@pytest.mark.perf
def test_more_elements_than_32_bits_count() -> None:
    rows, width = 1_100_000, 2048
    dense = torch.randn(1000, width).bfloat16()
    col = torch.arange(rows) % 1000
    made = ops.csr_matmul(torch.arange(rows + 1), col, torch.ones(rows), dense)
    assert made.numel() > 2**31
    for row in (0, 2**31 // width - 1, 2**31 // width, rows - 1):
        assert torch.equal(made[row], dense[row % 1000])
