"""Every method on W1 beside its published function: seconds, ratio, difference, in one process on the same arrays.

    pip install '.[benchmark]'
    python python_tests/benchmarks/methods.py [--threads 1] [--new 8192] [--anchors 20480] [--method NAME ...]

Ours is `combine`, from tables to weights, for all new tokens, plus the weighted sums of one table, since the published
functions return rows. Time is that of harness.py, the CPU time of the busiest thread. Published functions that take
long get fewer new tokens, as the table says; the ratio is that of the time for one token. Auxiliary vectors are those
of stages.py; donor rows have a common direction, as real tables do. A package that is not installed is left out.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import torch
from harness import timed
from peers import largest, published_focus, published_wechsel
from stages import arrays
from torch import Tensor

from salt_ext import _loader
from salt_ext.methods import Material, assemble_plan, make_method
from salt_ext.vocab import Anchors, Form, Vocabulary

METHODS = ("salt", "focus", "ofa", "clp", "omp", "interpolate", "global")
WIDTHS = (300, 768, 2048)


@dataclass(frozen=True)
class Published:
    """A published function on the first `tokens` new tokens; gives their rows."""

    package: str
    tokens: int
    rows: Callable[[], Tensor]


class Job:
    """W1 as a method meets it: the anchors are the target's first tokens, source ids the same."""

    def __init__(self, new: int, anchors: int) -> None:
        self.new, self.anchors = new, anchors
        aux_new, aux_shared, donor_new, donor_shared, self.source = arrays(new, anchors, *WIDTHS)
        self.aux, self.donor = torch.cat([aux_shared, aux_new]), torch.cat([donor_shared, donor_new]) + 0.3
        ids = np.arange(anchors)
        self.shared = Anchors(ids, ids, np.full(anchors, "exact"), {})
        self.target, self.origin = _vocabulary(anchors + new), _vocabulary(anchors)

    def rows(self, name: str) -> Tensor:
        """The new tokens' rows by one of our methods."""
        material = Material(
            source=self.origin,
            target=self.target,
            anchors=self.shared,
            read_donor=lambda: self.donor,
            read_auxiliary=lambda: self.aux,
            read_source=lambda: self.source,
        )
        combined = make_method(name).combine(material)
        size = self.anchors + self.new
        plan = assemble_plan(combined, self.shared, self.target, rows=size, source_rows=self.anchors, seed=0)
        return plan.apply(self.source)[self.anchors :]

    def published(self, name: str) -> Published | None:
        """What is published of a method; None where nothing is.

        Raises:
            ImportError: it is not installed.
        """
        tokens = {"focus": 512, "ofa": 1024, "clp": 256, "omp": 64, "interpolate": 256}.get(name)
        if tokens is None:
            return None
        new, keys = slice(self.anchors, self.anchors + tokens), slice(self.anchors)
        if name == "focus":
            return Published("deepfocus", tokens, published_focus(self.aux[new], self.aux[keys], self.source))
        if name == "ofa":
            # OFA's combination is WECHSEL's, with another way to the vectors.
            return Published("wechsel", tokens, published_wechsel(self.aux[new], self.aux[keys], self.source))
        queries, points = self.donor[new], self.donor[keys]
        if name == "clp":
            from sklearn.metrics.pairwise import cosine_similarity

            return Published("scikit-learn", tokens, lambda: _clp(cosine_similarity, queries, points, self.source))
        from mergekit.tokensurgeon.common_interpolation import WeightingScheme, common_interp_approximate
        from mergekit.tokensurgeon.omp import batch_omp

        def rows() -> Tensor:
            scheme = WeightingScheme.LEAST_SQUARES
            found = (
                batch_omp(queries, points, 64)
                if name == "omp"
                else common_interp_approximate(queries, points, k=64, weight_scheme=scheme)
            )
            return torch.bmm(found[1][:, None], self.source[found[0]])[:, 0]

        return Published("mergekit", tokens, rows)


def _clp(cosine_similarity: Any, new: Tensor, shared: Tensor, source: Tensor) -> Tensor:
    """The combination of the published script, which has no function to call: np.average token by token."""
    rows = [np.average(source.numpy(), axis=0, weights=row / row.sum()) for row in cosine_similarity(new, shared)]
    return torch.from_numpy(np.array(rows))


def _vocabulary(size: int) -> Vocabulary:
    tokens = [f"t{number}" for number in range(size)]
    forms = [Form(token.encode(), True) for token in tokens]
    return Vocabulary("made up", "made up", size, list(tokens), list(forms), {}, frozenset(), frozenset())


def line(job: Job, name: str) -> str:
    found, seconds = timed(lambda: job.rows(name))
    ours = f"| {name} | {seconds:.2f} | {1e3 * seconds / job.new:.3f} |"
    try:
        peer = job.published(name)
    except ImportError as error:
        return f"{ours} left out: {error} | | | | |"
    if peer is None:
        return f"{ours} none | | | | |"
    peer.rows()  # what is compiled or loaded once is not a token's
    expected, theirs = timed(peer.rows)
    each = 1e3 * theirs / peer.tokens
    ratio = each / (1e3 * seconds / job.new)
    error = largest(found[: peer.tokens], expected)
    return f"{ours} {peer.package} {version(peer.package)} | {peer.tokens:,} | {each:.3f} | {ratio:.1f} x | {error} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--new", type=int, default=8192)
    parser.add_argument("--anchors", type=int, default=20_480)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--method", nargs="+", choices=METHODS, default=list(METHODS))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    job = Job(options.new, options.anchors)
    size = f"{options.new:,} new x {options.anchors:,} anchors, {WIDTHS}, float32"
    print(f"{size}, {_loader.cpu_isa()}, {options.threads} thread(s)")
    print("| method | seconds | ms a token | published | its tokens | its ms a token | ratio | largest difference |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.method:
        print(line(job, name), flush=True)


if __name__ == "__main__":
    main()
