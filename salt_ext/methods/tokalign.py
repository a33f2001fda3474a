"""TokAlign (Li et al. 2025, arXiv 2506.03523): tokens that keep the same company in one text are one-to-one partners.

One text is cut by both tokenizers, and each gets GloVe vectors of its own (`alignment.glove`). The two spaces meet in
the tokens that both share: of every token the cosines with some of them, the pivots, are compared, and a new token gets
the source row whose cosines agree best, as their plain product says.

What differs from the program: see `alignment.glove`; and a source token that a target token equals stays its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerBase

from salt_ext.alignment.glove import count_pairs, train_vectors
from salt_ext.errors import InputError
from salt_ext.files.paths import require_file
from salt_ext.files.text_lines import read_lines
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.checks import check_count
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.vocab import encode_each

_BLOCK = 512
_MAX_BYTES = 20_000_000


@dataclass(frozen=True)
class TokAlign:
    """The row of the one source token whose company is most alike.

    A new token that the text does not have often enough gets a source row that is drawn, as in the program.

    Attributes:
        text: UTF-8 in the new language, or in both, a document a line; at most its first 20 MB are read.
        dimensions: of the vectors.
        iterations: of their training.
        window: the largest distance of two tokens that count as company.
        pivots: shared tokens that others are compared with, drawn with the seed; fewer where fewer are shared.
        minimum_count: how often a token has to occur.
        minimum_length: tokens of a line; shorter ones are not read.

    Raises:
        InputError: no text is given, or a number is no whole number of at least 1.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="tokalign",
        summary="the one source token that keeps the same company in a text",
        paper="Li et al. 2025, ACL (TokAlign)",
        cost="pairs of tokens in the text x dimensions x iterations, twice",
        needs=("text",),
    )

    text: Path | None = None
    dimensions: int = 300
    iterations: int = 15
    window: int = 15
    pivots: int = 300
    minimum_count: int = 5
    minimum_length: int = 15

    def __post_init__(self) -> None:
        for name in ("dimensions", "iterations", "window", "pivots", "minimum_count", "minimum_length"):
            check_count(name, getattr(self, name))
        if self.text is None:
            raise InputError("method tokalign needs a text that both tokenizers cut: pass --set text=FILE")
        require_file(Path(self.text), "text")

    def combine(self, material: MethodInputs) -> Combinations:
        """All new tokens are made.

        Raises:
            InputError: a tokenizer is missing, the text cannot be read, or no shared token is in it often enough.
        """
        lines = read_lines(Path(str(self.text)), max_bytes=_MAX_BYTES)
        old = self._vectors(lines, material.source_tokenizer, material.source.size, "source", material)
        new = self._vectors(lines, material.target_tokenizer, material.target.size, "target", material)
        anchors, generator = material.anchors.only(material.text_anchors), np.random.default_rng(material.seed)
        there = (old[anchors.source_ids].any(dim=1) & new[anchors.target_ids].any(dim=1)).numpy()
        shared = generator.permutation(np.flatnonzero(there))[: self.pivots]
        if not len(shared):
            raise InputError(
                f"text: no token that both tokenizers share is in {self.text} {self.minimum_count} times "
                f"(minimum_count), of its lines of {self.minimum_length} tokens or more (minimum_length)"
            )
        sources = np.flatnonzero(old.any(dim=1).numpy())
        keys = relative(old[sources], old[anchors.source_ids[shared]])
        pivots, partners = new[anchors.target_ids[shared]], list[Tensor]()
        for begin in range(0, len(material.new), _BLOCK):
            block = new[material.new[begin : begin + _BLOCK]]
            partners.append((relative(block, pivots) @ keys.T).argmax(dim=1))
        known = new[material.new].any(dim=1).numpy()
        found = sources[torch.cat(partners).numpy()] if partners else np.empty(0, dtype=np.int64)
        text = np.flatnonzero([form is not None for form in material.source.forms])
        drawn = generator.choice(text, size=len(known))
        return Combinations(
            target_ids=material.new,
            lengths=np.ones(len(known), dtype=np.int64),
            source_ids=np.where(known, found, drawn),
            values=np.ones(len(known), dtype=np.float32),
            facts={"pivots": len(shared), "not_in_text": int((~known).sum())},
        )

    def _vectors(
        self, lines: list[str], tokenizer: PreTrainedTokenizerBase | None, size: int, name: str, material: MethodInputs
    ) -> Tensor:
        if tokenizer is None:
            raise InputError(f"a text is cut by both tokenizers: pass {name}_tokenizer")
        cut = [ids for ids in encode_each(tokenizer, lines) if len(ids) >= self.minimum_length]
        counts = count_pairs(cut, size=size, window=self.window, minimum=self.minimum_count)
        return train_vectors(
            counts,
            size=size,
            dimensions=self.dimensions,
            iterations=self.iterations,
            seed=material.seed,
            progress=material.progress,
        )


def relative(vectors: Tensor, pivots: Tensor) -> Tensor:
    """Cosines with the pivots, [n, pivots]."""
    return normalize(vectors, dim=1) @ normalize(pivots, dim=1).T
