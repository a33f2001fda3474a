"""Random calls of every operator with hostile arguments: the answer of the float64 reference or an error.

SALT_FUZZ names the number of calls on each instruction set: `SALT_FUZZ=20000 pytest python_tests/ops/test_hostile.py`.
A failure names the number of the call, from which it can be made again. `python_tests/sanitize.py` runs them under the
address and undefined-behaviour sanitizers.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.ops import loader, reference

FLOATS = [torch.float32, torch.float32, torch.float64, torch.float16, torch.bfloat16]
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 8e-3, torch.bfloat16: 4e-2}
NUMBERS = [0.0, -1.0, math.nan, math.inf, -math.inf, 1e-300, 1e-12, 0.5, 1.0, 2.0, 1e12, 1e300]
COUNTS = [0, -1, 1, 2, 5, 200, 2**44, 2**62, 2**63 - 1]  # none that would fit into memory and take long
INDICES = [-(2**63), -1, 0, 1, 2, 3, 100, 2**31, 2**62]
REFUSALS = (ValueError, TypeError, RuntimeError, MemoryError, OverflowError)


@dataclass
class Call:
    """One call: `spoiled` where its arguments may be wrong, `wild` where arithmetic may leave the reference's range."""

    op: str
    args: list[Any]
    options: dict[str, Any] = field(default_factory=dict)
    spoiled: bool = False
    wild: bool = False


class Maker:
    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)
        self.torch = torch.Generator().manual_seed(self.random.getrandbits(60))
        self.wild = False

    def size(self) -> int:
        return self.random.choice([0, 1, 1, 2, 3, 4, 5, 8, 13, 17, 24, 33, 66])

    def values(self, rows: int, cols: int, dtype: torch.dtype) -> Tensor:
        matrix = torch.randn(rows, cols, generator=self.torch, dtype=torch.float64)
        match self.random.randrange(10):
            case 0:
                matrix = matrix.round()  # ties, zeros
            case 1:
                matrix[torch.rand(rows, generator=self.torch) < 0.5] = 0
            case 2 if rows:
                matrix = matrix[torch.randint(max(1, rows // 2), (rows,), generator=self.torch)]  # twins
            case 3:
                matrix *= self.random.choice([1e-4, 1e4] if dtype == torch.float16 else [1e-6, 1e6, 1e-12, 1e12])
            case 4:
                self.wild = True
                matrix *= self.random.choice([1e-310, 1e-40, 1e-25, 1e25, 1e38, 1e300])
                largest = torch.finfo(dtype).max
                matrix = matrix.clamp(-largest, largest)
        return matrix.to(dtype)

    def laid_out(self, matrix: Tensor) -> Tensor:
        """The same values in other strides, or the values that other strides make of them."""
        rows, cols = matrix.shape
        match self.random.randrange(12):
            case 0:
                return matrix.t().contiguous().t()
            case 1:
                wide = torch.full((rows + 2, cols + 3), math.nan, dtype=matrix.dtype)
                wide[1 : rows + 1, 2 : cols + 2] = matrix
                return wide[1 : rows + 1, 2 : cols + 2]
            case 2:
                return matrix.repeat_interleave(2, 0)[1::2]
            case 3:
                return matrix.repeat_interleave(3, 1)[:, ::3]
            case 4 if rows:
                return matrix[:1].expand(rows, cols)
            case 5 if cols:
                return matrix[:, :1].expand(rows, cols)
            case 6 if rows and cols:
                return torch.as_strided(matrix.reshape(-1).repeat(2), (rows, cols), (1, 1))  # rows that overlap
            case 7 if rows < 2 or not cols:
                strides = (2**62, 1) if rows < 2 else (2**61, 2**61)
                return torch.empty_strided((rows, cols), strides, dtype=matrix.dtype).copy_(matrix)
            case 8:
                return torch._neg_view(matrix)
            case 9:
                return matrix.clone().requires_grad_()
            case 10 if matrix.numel():
                raw = bytearray(1) + matrix.contiguous().view(torch.uint8).numpy().tobytes()
                return torch.frombuffer(raw, dtype=matrix.dtype, offset=1).view(rows, cols)  # any alignment
        return matrix

    def matrix(self, rows: int, cols: int, dtype: torch.dtype) -> Tensor:
        return self.laid_out(self.values(rows, cols, dtype))

    def csr(self, rows: int, cols: int) -> tuple[Tensor, Tensor]:
        most = min(cols, self.random.choice([1, 4, 20, 66]))
        chosen = [sorted(self.random.sample(range(cols), self.random.randint(0, most))) for _ in range(rows)]
        crow = torch.tensor([0, *map(len, chosen)]).cumsum(0)
        return crow, torch.tensor([column for row in chosen for column in row], dtype=torch.int64)

    def call(self) -> Call:
        draw, size = self.random, self.size
        dtype, other = draw.choice(FLOATS), draw.choice(FLOATS)
        q, k, d, h = size(), size(), size(), size()
        if draw.randrange(8) == 0:
            q, k, d = 30, 150, draw.choice([64, 67])  # enough for products of bytes
        op = draw.choice(["cosine_sparsemax", "cosine_topk", "lstsq_weights", "csr_matmul", "omp", "transfer"])
        solver = {
            "ridge": draw.choice([0.0, 0.0, 1e-3, 1.0]),
            "intercept": draw.random() < 0.4,
            "rcond": draw.choice([None, None, 0.0, 1e-3]),
        }
        if op == "cosine_topk":
            k = max(1, k)
        crow, col = self.csr(q, k)
        pair = [self.matrix(q, d, dtype), self.matrix(k, d, dtype)]
        match op:
            case "cosine_sparsemax":
                call = Call(op, pair, {"temperature": draw.choice([0.05, 0.3, 1.0])})
            case "cosine_topk":
                call = Call(op, [*pair, draw.randint(1, k)])
            case "omp":
                most = draw.choice([1, 2, 5] if q > 10 else [1, 2, 5, 70])
                call = Call(op, [*pair, most], {"tolerance": draw.choice([0.0, 0.1])})
            case "csr_matmul":
                values = self.values(1, len(col), other)[0]
                call = Call(op, [crow, col, values, pair[1]])
            case "lstsq_weights":
                call = Call(op, [crow, col, *pair], solver)
                if draw.random() < 0.4:
                    solver["sample_weights"] = torch.rand(len(col), generator=self.torch).add(0.01).to(other)
            case _:
                tables = [self.matrix(q, h, other), self.matrix(k, h, other), self.matrix(k, size(), dtype)]
                call = Call(op, [*pair, *tables], solver | {"temperature": 0.3})
        call.wild = self.wild
        for _ in range(draw.choice([0, 0, 0, 1, 1, 2])):
            self.spoil(call)
        return call

    def spoil(self, call: Call) -> None:
        """Makes one argument another."""
        draw = self.random
        call.spoiled = True
        at = draw.randrange(len(call.args) + 1)
        if at == len(call.args):
            call.wild = True
            for name, value in call.options.items():
                if isinstance(value, float) and draw.random() < 0.5:
                    call.options[name] = draw.choice(NUMBERS)
        elif isinstance(call.args[at], int):
            call.args[at] = draw.choice(COUNTS)
        else:
            call.args[at] = self.spoiled(call.args[at].detach())

    def spoiled(self, tensor: Tensor) -> Tensor:
        draw = self.random
        if tensor.is_meta or tensor.layout != torch.strided or tensor.dtype not in (torch.int64, *FLOATS):
            return tensor  # spoiled already
        match draw.randrange(12):
            case 0:
                return draw.choice([tensor[None], tensor.reshape(-1), tensor.sum()])
            case 1:
                kinds = [torch.int32, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn, *FLOATS]
                return tensor.to(draw.choice(kinds))
            case 2 | 3 | 4 if tensor.dim():
                return draw.choice([tensor[:0], tensor[..., :-1], torch.cat([tensor, tensor[:1]])])
            case 5:
                return tensor.to("meta")
            case 6 if tensor.dim():
                return tensor.to_sparse()
            case 7 if not tensor.is_floating_point():
                return tensor.flip(0)
        copy = tensor.clone(memory_format=torch.contiguous_format)
        if copy.numel():
            extremes = [math.nan, math.inf, -math.inf] if copy.is_floating_point() else INDICES
            copy.view(-1)[draw.randrange(copy.numel())] = draw.choice(extremes)
        return copy


def outcome(function: Callable[..., Any], call: Call) -> tuple[Tensor, ...] | Exception:
    try:
        result = function(*call.args, **call.options)
    except REFUSALS as error:
        return error
    return result if isinstance(result, tuple) else (result,)


def is_canonical(crow: Tensor, col: Tensor, columns: int) -> bool:
    bounds, chosen = crow.tolist(), col.tolist()
    if bounds[0] != 0 or bounds[-1] != len(chosen) or any(a > b for a, b in pairwise(bounds)):
        return False
    rows = [chosen[a:b] for a, b in pairwise(bounds)]
    return all(0 <= column < columns for column in chosen) and all(a < b for row in rows for a, b in pairwise(row))


def must_be_refused(call: Call) -> bool:
    """Whether the data says so: indices that are no CSR, numbers that are none."""
    tensors = [value for value in [*call.args, *call.options.values()] if isinstance(value, Tensor)]
    if call.op in ("csr_matmul", "lstsq_weights"):
        if not is_canonical(call.args[0], call.args[1], call.args[3].shape[0]):
            return True
        if call.op == "csr_matmul":
            return False
        tensors = [call.args[2], call.args[3][call.args[1]], *tensors[4:]]
    return not all(bool(tensor.isfinite().all()) for tensor in tensors)


def as_matrix(call: Call, result: tuple[Tensor, ...]) -> Tensor:
    """What a result says: weights at their columns, similarities in their order."""
    values = [tensor.detach().double() for tensor in result]
    if call.op == "cosine_topk":
        assert ((values[0] == -math.inf) == (result[1] == -1)).all()
        assert all(len(set(row)) == len(row) for row in ([i for i in r if i >= 0] for r in result[1].tolist()))
        return values[0].clamp(min=-2)
    if call.op == "omp":
        used = result[0] >= 0
        assert (values[1][~used] == 0).all()
        out = torch.zeros(used.shape[0], max(1, call.args[1].shape[0]), dtype=torch.float64)
        return out.scatter_add(1, result[0].clamp(min=0), values[1])
    if call.op == "cosine_sparsemax":
        assert is_canonical(result[0], result[1], call.args[1].shape[0])
        out = torch.zeros(len(result[0]) - 1, call.args[1].shape[0], dtype=torch.float64)
        rows = torch.repeat_interleave(torch.arange(out.shape[0]), result[0].diff())
        return out.index_put((rows, result[1]), values[2])
    return values[0] if values[0].dim() == 2 else values[0][None]


def expected(call: Call, shake: float) -> Tensor:
    """The reference's answer to arguments that are `shake` away; narrow types follow the rules of float32."""
    generator = torch.Generator().manual_seed(0)

    def near(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        wide = value.detach().resolve_neg()
        noise = 1 + shake * torch.randn(value.shape, generator=generator, dtype=torch.float64)
        return (wide.double() * noise).to(torch.promote_types(wide.dtype, torch.float32))

    options = {name: near(value) for name, value in call.options.items()}
    result = getattr(reference, call.op)(*map(near, call.args), **options)
    return as_matrix(call, result if isinstance(result, tuple) else (result,))


def agrees(call: Call, result: tuple[Tensor, ...]) -> bool:
    """Compares with the reference; False where its own answer hangs on the last bits of the arguments."""
    exact = all(v.dtype == torch.float64 for v in call.args if isinstance(v, Tensor) and v.is_floating_point())
    right, other = expected(call, 0.0), expected(call, 1e-9 if exact else 1e-6)
    dtype = next(tensor.dtype for tensor in result if tensor.is_floating_point())
    largest = right.abs().amax(dim=1, keepdim=True) if right.numel() else right
    bound = TOLERANCE[dtype] * largest.clamp(min=1e-30)
    if not ((right - other).abs() <= bound / 8).all():
        return False
    found, rounded = as_matrix(call, result), right.to(dtype).double()
    assert found.shape == right.shape
    close = (found - rounded).abs() <= bound + torch.finfo(dtype).tiny
    assert (close | (found == rounded)).all(), f"found {found}, expected {right}"
    return True


def check(call: Call) -> str:
    """Makes the call through both doors and returns how it ended."""
    result = outcome(getattr(ops, call.op), call)
    raw = outcome(getattr(torch.ops.salt, call.op), call)
    assert isinstance(result, Exception) == isinstance(raw, Exception), f"{result!r}, but torch.ops.salt: {raw!r}"
    if isinstance(result, Exception):
        assert call.spoiled, f"refused: {result!r}"
        return "refused"
    if result[0].is_meta:
        return "returned"
    assert not must_be_refused(call), "answered"
    for one, two in zip(result, raw, strict=True):
        assert one.shape == two.shape
        assert torch.equal(one.detach().nan_to_num(), two.detach().nan_to_num())
    return "compared" if not call.wild and agrees(call, result) else "returned"


def test_hostile_calls_are_answered_or_refused(home: str, record_property: Callable[[str, object], None]) -> None:
    if home not in loader.runnable_cpu_isas():
        pytest.skip("about the CPU's kernels")
    count, ends = int(os.environ.get("SALT_FUZZ") or 100), {"compared": 0, "returned": 0, "refused": 0}
    for number in range(count):
        call = Maker(f"{home} {number}").call()
        try:
            ends[check(call)] += 1
        except Exception as error:
            raise AssertionError(f"call {number} on {home}: {call}") from error
    print(f"{home}: {2 * count} calls, {ends}")
    record_property("calls", 2 * count)
    assert all(number > count / 20 for number in ends.values())
