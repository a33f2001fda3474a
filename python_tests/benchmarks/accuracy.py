"""Largest relative error of a row, per op and dtype, against the float64 definitions: README's accuracy table.

    python python_tests/benchmarks/accuracy.py

200 new tokens, 5,000 anchors, 300/768/1024 dimensions, supports of about 20 anchors; then the same with every anchor
twice, so that each regression is rank-deficient. The reference sees the same rounded inputs in float64.
"""

from __future__ import annotations

import torch
from stages import arrays
from torch import Tensor

from salt_ext import ops
from salt_ext.ops import reference

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def row_error(found: Tensor, expected: Tensor) -> float:
    scale = expected.double().norm(dim=1).clamp_min(1e-300)
    return float(((found.double() - expected.double()).norm(dim=1) / scale).max())


def by_row(crow: Tensor, values: Tensor, col: Tensor, columns: int) -> Tensor:
    rows = torch.repeat_interleave(torch.arange(len(crow) - 1), crow.diff())
    return torch.zeros(len(crow) - 1, columns, dtype=torch.float64).index_put_((rows, col), values.double())


def errors(dtype: torch.dtype, *, twice: bool) -> dict[str, float]:
    data = [tensor.to(dtype) for tensor in arrays(200, 5000, 300, 768, 1024)]
    if twice:
        data = [torch.cat([tensor, tensor]) if len(tensor) == 5000 else tensor for tensor in data]
    aux_new, aux_shared, donor_new, donor_shared, source = data
    columns = len(aux_shared)
    wide = [tensor.double() for tensor in data]
    # The rank decision is the input dtype's: the reference gets the cut-off that the op uses.
    rcond = reference.default_rcond(dtype, 1, 768)
    crow, col, p = reference.cosine_sparsemax(wide[0], wide[1])
    expected = reference.lstsq_weights(crow, col, wide[2], wide[3], rcond=rcond)
    product = reference.csr_matmul(crow, col, expected, wide[4])
    atoms, _ = reference.omp(donor_new[:50], donor_shared[:2000], 16)
    chosen, _ = ops.omp(donor_new[:50], donor_shared[:2000], 16)
    topk, _ = reference.cosine_topk(wide[0], wide[1], 10)
    return {
        "cosine_sparsemax": row_error(
            by_row(*_reordered(ops.cosine_sparsemax(aux_new, aux_shared)), columns), by_row(crow, p, col, columns)
        ),
        "cosine_topk": row_error(ops.cosine_topk(aux_new, aux_shared, 10)[0], topk),
        "lstsq_weights": row_error(
            by_row(crow, ops.lstsq_weights(crow, col, donor_new, donor_shared), col, columns),
            by_row(crow, expected, col, columns),
        ),
        "csr_matmul": row_error(ops.csr_matmul(crow, col, expected, source), product),
        "omp (share of other atoms)": float((atoms != chosen).double().mean()),
        "transfer": row_error(ops.transfer(*data), product),
    }


def _reordered(csr: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    crow, col, values = csr
    return crow, values, col


def main() -> None:
    torch.set_num_threads(2)
    for twice in (False, True):
        table = {dtype: errors(dtype, twice=twice) for dtype in DTYPES}
        print("\nevery anchor twice (rank-deficient)" if twice else "independent anchors")
        print("| op | " + " | ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES) + " |")
        print("|---|" + "---|" * len(DTYPES))
        for op in table[DTYPES[0]]:
            print(f"| `{op}` | " + " | ".join(f"{table[dtype][op]:.0e}" for dtype in DTYPES) + " |")


if __name__ == "__main__":
    main()
