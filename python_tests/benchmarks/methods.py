"""Every method on W1 beside its published function: seconds, ratio, difference, in one process on the same arrays.

    pip install '.[benchmark]'
    python python_tests/benchmarks/methods.py [--threads 1] [--new 8192] [--anchors 20480] [--method NAME ...]

Ours is `combine`, from tables to weights, for all new tokens (`wechsel` and `trans-tokenization` make the anchors anew
too), plus the weighted sums of one table, since the published functions return rows. Time is that of harness.py, the
CPU time of the busiest thread. Published functions that take long get fewer new tokens, as the table says; the ratio is
that of the time for one token. Auxiliary vectors are those of stages.py; donor rows have a common direction, as real
tables do; tokens are made-up words, the source's tokenizer is trained on some. A package that is not installed is left
out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import torch
from harness import timed
from peers import largest, published_focus, published_wechsel
from stages import arrays
from torch import Tensor
from words import made_words, trained_tokenizer

from salt_ext import ops
from salt_ext.alignment import AlignmentTable, TokenCounts, write_table
from salt_ext.methods import MethodInputs, make_method
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.entries import Entries
from salt_ext.ops import loader as _loader
from salt_ext.vectors import look_up, open_vectors
from salt_ext.vocab import Anchors, Form, Vocabulary

METHODS = (
    "salt",
    "salt-plus",
    "focus",
    "ofa",
    "wechsel",
    "clp",
    "omp",
    "interpolate",
    "subword",
    "trans-tokenization",
    "global",
)
WIDTHS = (300, 768, 2048)
TRANSLATIONS = 8  # source tokens of a token in the made-up alignment


def weighted_sums(made: Combinations, table: Tensor) -> Tensor:
    """The weighted sums and the low-rank part of the rows that are made, neither scaled nor rounded.

    Args:
        made: what a method returned.
        table: floating [source.size or more, width].

    Returns:
        float32 or wider [n, width], in the order of `target_ids`.
    """
    wide = torch.promote_types(table.dtype, torch.float32)
    owners = np.repeat(np.arange(len(made.target_ids)), made.lengths)
    entries = Entries(owners, made.source_ids, made.values).merged()
    crow = torch.from_numpy(np.searchsorted(entries.rows, np.arange(len(made.target_ids) + 1)))
    used, places = torch.from_numpy(entries.columns).unique(return_inverse=True)
    rows = ops.csr_matmul(crow, places, torch.from_numpy(entries.values).to(wide), table[used].to(wide))
    if made.low_rank is not None:
        part, order = made.low_rank, np.argsort(made.target_ids)
        places = torch.from_numpy(order[np.searchsorted(made.target_ids, part.rows.numpy(), sorter=order)])
        rows.index_add_(0, places, part.left.to(wide) @ part.map_of(table, table.device))
    return rows


@dataclass(frozen=True)
class Published:
    """A published function on the first `tokens` new tokens; gives their rows."""

    package: str
    tokens: int
    rows: Callable[[], Tensor]


class Job:
    """W1 as a method meets it: the anchors are the target's first tokens, source ids the same."""

    def __init__(self, new: int, anchors: int, folder: Path) -> None:
        self.new, self.anchors, self.folder = new, anchors, folder
        aux_new, aux_shared, donor_new, donor_shared, self.source = arrays(new, anchors, *WIDTHS)
        self.aux, self.donor = torch.cat([aux_shared, aux_new]), torch.cat([donor_shared, donor_new]) + 0.3
        ids = np.arange(anchors)
        self.shared = Anchors(ids, ids, np.full(anchors, "exact"), {})
        words = made_words(4 * anchors)
        self.tokenizer = trained_tokenizer(words, anchors)
        self.origin = Vocabulary.from_tokenizer(self.tokenizer, name="made up")
        known = set(self.origin.forms)
        forms = [form for word in words if (form := Form(word.encode(), True)) not in known][:new]
        tokens = [*self.origin.tokens, *(form.written.decode() for form in forms)]
        self.target = Vocabulary(
            "made up", "made up", len(tokens), tokens, [*self.origin.forms, *forms], {}, frozenset(), frozenset()
        )

    def options(self, name: str) -> dict[str, Any]:
        """Files that a method needs, made before the time is taken."""
        if name == "wechsel":
            return {"source_vectors": self._vectors(self.origin), "target_vectors": self._vectors(self.target)}
        if name == "trans-tokenization":
            return {"alignment": self._alignment}
        return {}

    def _vectors(self, vocabulary: Vocabulary) -> str:
        """The auxiliary vectors as a file of words, without those that two tokens share, which would tie."""
        texts = [form.text if form else None for form in vocabulary.forms]
        shared = Counter(texts)
        alone = {text: number for number, text in enumerate(texts) if text and shared[text] == 1}
        file = self.folder / f"{vocabulary.size}.npy"
        np.save(file, self.aux[list(alone.values())].numpy())
        file.with_suffix(".txt").write_text("\n".join(alone) + "\n", encoding="utf-8")
        return f"vectors:{file}"

    @cached_property
    def _alignment(self) -> Path:
        """Every token with some source tokens, each counted 10 to 99 times."""
        generator, size = np.random.default_rng(0), self.target.size
        owners = np.repeat(np.arange(size), TRANSLATIONS)
        partners = (np.arange(size * TRANSLATIONS) * 7919) % self.anchors
        counts = TokenCounts(owners, partners, generator.integers(10, 100, size * TRANSLATIONS))
        table = AlignmentTable.of(counts, self.origin, self.target, name="made up")
        file = self.folder / "alignment.tsv"
        write_table(file, table, self.origin, self.target)
        return file

    def rows(self, name: str, options: dict[str, Any]) -> tuple[Tensor, int]:
        """The new tokens' rows by one of our methods, and how many tokens it made."""
        material = MethodInputs(
            source=self.origin,
            target=self.target,
            anchors=self.shared,
            read_donor=lambda: self.donor,
            read_auxiliary=lambda: self.aux,
            read_source=lambda: self.source,
            source_tokenizer=self.tokenizer,
        )
        combined = make_method(name, options).combine(material)
        rows = weighted_sums(combined, self.source)
        return rows[torch.from_numpy(combined.target_ids) >= self.anchors], len(rows)

    def published(self, name: str) -> Published | None:
        """What is published of a method; None where nothing is.

        Raises:
            ImportError: it is not installed.
        """
        sizes = {"focus": 512, "ofa": 1024, "wechsel": 1024, "clp": 256, "omp": 64, "interpolate": 256, "subword": 1024}
        tokens = sizes.get(name)
        if tokens is None:
            return None
        new, keys = slice(self.anchors, self.anchors + tokens), slice(self.anchors)
        if name == "focus":
            return Published("deepfocus", tokens, published_focus(self.aux[new], self.aux[keys], self.source))
        if name == "ofa":
            # OFA's combination is WECHSEL's, with another way to the vectors.
            return Published("wechsel", tokens, published_wechsel(self.aux[new], self.aux[keys], self.source))
        if name == "wechsel":
            return Published("wechsel", tokens, self._published_wechsel(tokens))
        if name == "subword":
            from mergekit.tokensurgeon.subword import SubwordMethod, subword_approximate

            texts, mean = [form.written.decode() for form in self.target.forms[new] if form], SubwordMethod.MEAN
            return Published(
                "mergekit", tokens, lambda: subword_approximate(self.source, texts, False, self.tokenizer, mean)
            )
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

    def _published_wechsel(self, tokens: int) -> Callable[[], Tensor]:
        """With the vectors that our own reader gives the tokens, and the source tokens that are text and have one."""
        keys = look_up(open_vectors(self._vectors(self.origin)), self.origin)
        queries = look_up(open_vectors(self._vectors(self.target)), self.target)
        usable = keys.abs().amax(dim=1) > 0
        usable[list(self.origin.byte_ids)] = False
        return published_wechsel(queries[self.anchors : self.anchors + tokens], keys[usable], self.source[usable])


def _clp(cosine_similarity: Any, new: Tensor, shared: Tensor, source: Tensor) -> Tensor:
    """The combination of the published script, which has no function to call: np.average token by token."""
    rows = [np.average(source.numpy(), axis=0, weights=row / row.sum()) for row in cosine_similarity(new, shared)]
    return torch.from_numpy(np.array(rows))


def line(job: Job, name: str) -> str:
    options = job.options(name)
    (found, made), seconds = timed(lambda: job.rows(name, options))
    ours = f"| {name} | {made:,} | {seconds:.2f} | {1e3 * seconds / made:.3f} |"
    try:
        peer = job.published(name)
    except ImportError as error:
        return f"{ours} left out: {error} | | | | |"
    if peer is None:
        return f"{ours} none | | | | |"
    peer.rows()  # what is compiled or loaded once is not a token's
    expected, theirs = timed(peer.rows)
    each = 1e3 * theirs / peer.tokens
    ratio = each / (1e3 * seconds / made)
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
    with tempfile.TemporaryDirectory() as folder:
        small = Job(64, 1024, Path(folder))
        job = Job(options.new, options.anchors, Path(folder))
        size = f"{options.new:,} new x {options.anchors:,} anchors, {WIDTHS}, float32"
        print(f"{size}, {_loader.cpu_isa()}, {options.threads} thread(s)")
        print("| method | tokens | seconds | ms each | published | its tokens | its ms each | ratio | difference |")
        print("|---|---|---|---|---|---|---|---|---|")
        for name in options.method:
            small.rows(name, small.options(name))  # what is imported once is not a token's
            print(line(job, name), flush=True)


if __name__ == "__main__":
    main()
