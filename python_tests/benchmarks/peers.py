"""Published implementations beside the ops: milliseconds per new token, ratios, and how far the results lie apart.

    pip install '.[benchmark]'
    python python_tests/benchmarks/peers.py [--threads 1] [--anchors 20480] [--peer NAME ...]

All are called in this process on the same arrays: clustered auxiliary vectors as in stages.py, 300/768/2048 dimensions,
anchors of W1. Slow ones get fewer new tokens, as the table says, and both sides get the same. Time is that of
harness.py: the CPU time of the busiest thread, median of the rounds. A peer that is not installed is left out, and why.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TQDM_DISABLE", "1")

import torch
import vectorised
from harness import timed
from stages import arrays, literal_regression, literal_sparsemax
from torch import Tensor
from torch.nn.functional import normalize

from salt_ext import ops
from salt_ext.ops import loader as _loader


@dataclass(frozen=True)
class Peer:
    """A published function and what salt-ext does instead, both giving the same quantity."""

    name: str
    package: str
    tokens: int
    theirs: Callable[[], Any]
    ours: Callable[[], Any]
    difference: Callable[[Any, Any], str]


def largest(found: Tensor, expected: Tensor) -> str:
    error = ((found - expected).norm(dim=-1) / expected.norm(dim=-1)).max()
    return f"{float(error):.0e}"


def published_focus(new: Tensor, shared: Tensor, source: Tensor) -> Callable[[], Tensor]:
    """FOCUS of these vectors and source rows, made ready to be called."""
    from deepfocus import focus as published

    news = {
        n: SimpleNamespace(auxiliary_embedding=row.numpy(), target=SimpleNamespace(id=n)) for n, row in enumerate(new)
    }
    overlap = {
        n: SimpleNamespace(auxiliary_embedding=shared[n].numpy(), source_embedding=source[n])
        for n in range(len(shared))
    }

    def theirs() -> Tensor:
        rows = torch.zeros(len(new), source.shape[1])
        return published.focus_additional_token_initialization(overlap, news, rows, device="cpu")

    return theirs


def focus(anchors: int) -> Peer:
    """FOCUS from auxiliary vectors on: cosines, sparsemax, convex combination."""
    tokens = 4096
    new, shared, _, _, source = arrays(tokens, anchors, 300, 8, 2048)
    theirs = published_focus(new, shared, source)

    def ours() -> Tensor:
        return ops.csr_matmul(*ops.cosine_sparsemax(new, shared), source)

    return Peer("FOCUS: focus_additional_token_initialization", "deepfocus", tokens, theirs, ours, largest)


def focus_and_transfer(anchors: int) -> Peer:
    """The same beside all of SALT, which regresses as well."""
    peer = focus(anchors)
    data = arrays(peer.tokens, anchors, 300, 768, 2048)
    return Peer(
        "FOCUS beside transfer", "deepfocus", peer.tokens, peer.theirs, lambda: ops.transfer(*data), _another_method
    )


def _another_method(_found: Any, _expected: Any) -> str:
    return "another method"


def sparsemax(anchors: int) -> Peer:
    from entmax import sparsemax as published

    tokens = 512
    new, shared = arrays(tokens, anchors, 300, 8, 8)[:2]

    def theirs() -> Tensor:
        return published(normalize(new) @ normalize(shared).T, dim=1)

    def difference(found: tuple[Tensor, Tensor, Tensor], expected: Tensor) -> str:
        crow, col, values = found
        row = torch.repeat_interleave(torch.arange(tokens), crow.diff())
        return largest(torch.zeros_like(expected).index_put_((row, col), values), expected)

    return Peer(
        "entmax.sparsemax of torch.mm",
        "entmax",
        tokens,
        theirs,
        lambda: ops.cosine_sparsemax(new, shared),
        difference,
    )


def published_wechsel(new: Tensor, shared: Tensor, source: Tensor) -> Callable[[], Tensor]:
    """WECHSEL's combination of these vectors and source rows, made ready to be called."""
    from wechsel import create_target_embeddings

    class Words:
        """As much of a tokenizer as the function asks for: the name of token 7 is 7."""

        special_tokens_map: dict[str, str] = {}  # noqa: RUF012

        def __init__(self, size: int) -> None:
            self.vocab = {number: number for number in range(size)}

        def __len__(self) -> int:
            return len(self.vocab)

        def convert_ids_to_tokens(self, ids: Any) -> Any:
            return list(ids) if hasattr(ids, "__len__") else ids

    def theirs() -> Tensor:
        matrix, _, _ = create_target_embeddings(
            shared.numpy(), new.numpy(), Words(len(shared)), Words(len(new)), source.numpy(), verbose=False
        )
        return torch.from_numpy(matrix)

    return theirs


def wechsel(anchors: int) -> Peer:
    """WECHSEL's combination: the ten nearest, weighted by softmax(cosine / 0.1)."""
    tokens = 1024
    new, shared, _, _, source = arrays(tokens, anchors, 300, 8, 2048)
    theirs = published_wechsel(new, shared, source)

    def ours() -> Tensor:
        cosines, nearest = ops.cosine_topk(new, shared, 10)
        # The op sorts by similarity, a plan by column.
        column = nearest.sort(dim=1)
        weights = torch.softmax(cosines / 0.1, dim=1).gather(1, column.indices)
        crow = torch.arange(tokens + 1) * 10
        return ops.csr_matmul(crow, column.values.flatten(), weights.flatten(), source)

    return Peer("WECHSEL: create_target_embeddings", "wechsel", tokens, theirs, ours, largest)


def omp(anchors: int) -> Peer:
    from mergekit.tokensurgeon.omp import batch_omp

    tokens, k = 64, 64
    _, _, new, shared, _ = arrays(tokens, anchors, 8, 768, 8)

    def difference(found: Any, expected: Any) -> str:
        other = (found[0] != expected[0]).float().mean()
        residuals = [(new - (w[:, None] @ shared[i])[:, 0]).norm(dim=1) for i, w in (found, expected)]
        return f"{float(other):.1%} other atoms, residual {float((residuals[0] / residuals[1]).mean()):.4f} x theirs"

    return Peer(
        "tokensurgeon: batch_omp, k = 64",
        "mergekit",
        tokens,
        lambda: batch_omp(new, shared, k),
        lambda: ops.omp(new, shared, k),
        difference,
    )


def literal(anchors: int) -> Peer:
    tokens = 256
    data = arrays(tokens, anchors, 300, 768, 2048)

    def theirs() -> Tensor:
        return literal_regression(literal_sparsemax(*data[:2]), *data[2:])

    return Peer("SALT to the letter, in PyTorch", "torch", tokens, theirs, lambda: ops.transfer(*data), largest)


def batched(anchors: int) -> Peer:
    tokens = 2048
    data = arrays(tokens, anchors, 300, 768, 2048)
    return Peer(
        "SALT vectorised, in PyTorch (vectorised.py)",
        "torch",
        tokens,
        lambda: vectorised.transfer(*data),
        lambda: ops.transfer(*data),
        largest,
    )


PEERS = {build.__name__: build for build in (focus, focus_and_transfer, literal, batched, omp, wechsel, sparsemax)}


def measured(peer: Peer, rounds: int) -> str:
    peer.ours(), peer.theirs()  # what is compiled or loaded once is not a token's
    theirs, ours, expected, found = [], [], None, None
    for _ in range(rounds):
        expected, seconds = timed(peer.theirs)
        theirs.append(1e3 * seconds / peer.tokens)
        found, seconds = timed(peer.ours)
        ours.append(1e3 * seconds / peer.tokens)
    ratio = median(one / two for one, two in zip(theirs, ours, strict=True))
    return (
        f"| {peer.name} | {peer.package} {version(peer.package)} | {peer.tokens:,} | {median(theirs):.3g} |"
        f" {median(ours):.3g} | {ratio:.1f} x | {peer.difference(found, expected)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anchors", type=int, default=20_480)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer", nargs="+", choices=PEERS, default=list(PEERS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.anchors:,} anchors, 300/768/2048, float32, {_loader.cpu_isa()}, {options.threads} thread(s)")
    print("| published | version | new tokens | their ms | our ms | ratio | largest difference of a row |")
    print("|---|---|---|---|---|---|---|")
    for name in options.peer:
        try:
            peer = PEERS[name](options.anchors)
        except ImportError as error:
            print(f"| {name} | left out: {error} | | | | | |", flush=True)
            continue
        print(measured(peer, options.rounds), flush=True)


if __name__ == "__main__":
    main()
