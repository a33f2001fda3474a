"""What a GPU cannot do faster: bytes and operations of every stage over the ceilings of the device.

Gathers are counted as if every row came from memory; what the second-level cache holds can come faster.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ceilings:
    """Bytes of memory traffic, float16 tensor-core operations and float64 operations per second."""

    name: str
    bandwidth: float
    half: float
    double: float


# Bandwidth and float64 (tensor cores) by the datasheet; float16 as 8192 x 8192 matrices of random numbers reach it.
H200 = Ceilings("H200 by datasheet", bandwidth=4.8e12, half=790e12, double=67e12)


@dataclass(frozen=True)
class Tables:
    """A transfer's sizes, and the dtype of the embedding tables; the auxiliary vectors are float32."""

    new: int
    anchors: int
    aux: int
    donor: int
    source: int
    dtype: torch.dtype


@dataclass(frozen=True)
class Pursuit:
    """Sizes of an orthogonal matching pursuit."""

    queries: int
    atoms: int
    width: int
    k: int


@dataclass(frozen=True)
class Stage:
    """Memory traffic and arithmetic that a stage cannot avoid."""

    name: str
    bytes: float
    half: float = 0.0
    double: float = 0.0

    def seconds(self, ceilings: Ceilings) -> float:
        """Both go on at once, so the slower one counts."""
        return max(self.bytes / ceilings.bandwidth, self.half / ceilings.half + self.double / ceilings.double)


def transfer_stages(sizes: Tables, supports: torch.Tensor) -> list[Stage]:
    """The three stages of `transfer`.

    Args:
        sizes: of its tables.
        supports: anchors of a sample of tokens, [n].
    """
    k = supports.double()
    mean, square, cube = (sizes.new * float((k**power).mean()) for power in (1, 2, 3))
    size = sizes.dtype.itemsize
    pairs = sizes.new * sizes.anchors
    return [
        Stage("cosine_sparsemax", 4 * (sizes.new + sizes.anchors) * sizes.aux + 12 * mean, half=2 * pairs * sizes.aux),
        # One triangle of the Gram matrix, the right-hand side, Cholesky.
        Stage(
            "lstsq_weights",
            size * sizes.donor * (mean + sizes.new) + 12 * mean,
            double=square * sizes.donor + 2 * mean * sizes.donor + cube / 3,
        ),
        Stage("csr_matmul", size * sizes.source * (mean + sizes.new) + 12 * mean),
    ]


def omp_stages(sizes: Pursuit) -> list[Stage]:
    """Every step correlates each residual with each atom, on tensor cores with exact rescoring of the best few.

    To update the correlations by rows of the Gram matrix would read k / 2 such rows per query and step: terabytes.
    """
    operations = 2 * sizes.k * sizes.queries * sizes.atoms * sizes.width
    traffic = 4 * sizes.width * (sizes.queries * (1 + 2 * sizes.k) + sizes.atoms)
    return [Stage("omp", traffic, half=operations)]


def clustered(rows: int, depth: int, generator: torch.Generator) -> torch.Tensor:
    """Vectors with neighbours, as word vectors have them: 400 centres, noise 1.3; float32."""
    device = generator.device
    centres = torch.randn(400, depth, generator=generator, device=device)
    chosen = torch.randint(400, (rows,), generator=generator, device=device)
    return centres[chosen].add_(torch.randn(rows, depth, generator=generator, device=device), alpha=1.3)


def measured_ceilings(timed: Callable[[Callable[[], object]], float], *, small: bool) -> Ceilings:
    """Ceilings of the default device.

    Args:
        timed: the median seconds of a function.
        small: for a trial of the script, not of the device.
    """
    numbers, side = (1 << 20, 256) if small else (1 << 30, 8192)
    rates = [_product_rate(timed, side, dtype) for dtype in (torch.float16, torch.float64)]
    name = torch.cuda.get_device_name() if torch.get_default_device().type == "cuda" else "this CPU"
    return Ceilings(f"{name}, measured", _copy_rate(timed, numbers), *rates)


def _copy_rate(timed: Callable[[Callable[[], object]], float], numbers: int) -> float:
    """Bytes read and written per second."""
    data = torch.zeros(numbers, dtype=torch.int32)
    copy = torch.empty_like(data)
    return 2 * data.nbytes / timed(lambda: copy.copy_(data))


def _product_rate(timed: Callable[[Callable[[], object]], float], side: int, dtype: torch.dtype) -> float:
    """Operations per second of a product of square matrices of random numbers."""
    a, b = torch.randn(side, side).to(dtype), torch.randn(side, side).to(dtype)
    return 2 * side**3 / timed(lambda: a @ b)
