"""TokenAdapt (Sharthak et al. 2025): its own pieces, mixed with the source tokens that are near it in meaning.

As in the authors' program. The pieces count by softmax((softmax(c) + l) / 2 / temperature), c being their cosines with
the whole token and l their shares of its characters; the nearest source tokens by softmax(cosine / temperature), those
of a cosine below 0 left out. Where one of the two has nothing to say, the other makes the row.

What differs: there c comes from a sentence encoder that reads the text of any token. Here the vectors are word vectors
that know both languages, where `vectors` names some, else the auxiliary vectors, by default the donor's rows. These
know of the source only what the target shares, so that anchors alone are near, and a piece that is none has the cosine
0, as has every piece of a token without a vector: the program would draw such a token's row. The program divides by
temperature + 1e-12 or so, and cuts texts by themselves instead of as they stand in a running text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.checks import check_count, check_enough_keys, check_positive, check_share
from salt_ext.methods.core.entries import Entries, Ints, joined
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.methods.core.nearest import rows_of_slots
from salt_ext.methods.core.neighbours import Neighbours, SparseRows, combine_blocks, find_neighbours, text_keys
from salt_ext.methods.core.piece_weights import characters_of
from salt_ext.methods.core.pieces import segment_tokens
from salt_ext.vectors import check_spec, look_up, open_vectors

_BLOCK = 1 << 15


@dataclass(frozen=True)
class TokenAdapt:
    """e = (1 - global_weight) times the sum over its pieces + global_weight times the sum over its neighbours.

    Attributes:
        neighbours: how many source tokens are near.
        temperature: of both softmaxes, above 0.
        global_weight: the neighbours' share, 0 to 1.
        vectors: a file of vectors that know both languages, as `open_vectors` takes it; None: the auxiliary vectors.

    Raises:
        InputError: an option is out of range, or the file is missing.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="token-adapt",
        summary="its pieces by likeness and length (0.7), and its 3 nearest source tokens (0.3)",
        paper="Sharthak et al. 2025, arXiv 2505.09738",
        cost="one tokenization of the vocabulary, new x anchors x D",
        needs=("auxiliary vectors",),
    )

    neighbours: int = 3
    temperature: float = 0.3
    global_weight: float = 0.3
    vectors: str | None = None

    def __post_init__(self) -> None:
        check_count("neighbours", self.neighbours)
        check_positive("temperature", self.temperature)
        check_share("global_weight", self.global_weight)
        if self.vectors is not None:
            check_spec(self.vectors)

    @property
    def needed(self) -> tuple[str, ...]:
        """No auxiliary vectors where the method has its own."""
        return self.info.needs if self.vectors is None else ()

    def combine(self, material: MethodInputs) -> Combinations:
        """New tokens with a piece or a neighbour are made, the others left.

        Raises:
            InputError: the source's tokenizer is missing or slow, or fewer source tokens have a vector than are to be
                neighbours.
        """
        new = material.new
        nothing = np.empty(0, dtype=np.int64)
        near, pieces = (Entries(nothing, nothing, np.empty(0)) for _ in range(2))
        queries, sources, keys = self._vectors_of(material)
        if self.global_weight > 0:
            near = self._near(material, queries, sources, keys)
        if self.global_weight < 1:
            pieces = self._pieces(material, queries, sources)
        shares = np.zeros(len(new))
        shares[near.rows] = 1
        told = np.zeros(len(new), dtype=bool)
        told[pieces.rows] = True
        shares[told & (shares > 0)] = self.global_weight
        weighed = [
            near._replace(values=shares[near.rows] * near.values),
            pieces._replace(values=(1 - shares[pieces.rows]) * pieces.values),
        ]
        entries = joined(weighed).merged()
        return Combinations(
            target_ids=new,
            lengths=np.bincount(entries.rows, minlength=len(new)),
            source_ids=entries.columns,
            values=entries.values.astype(np.float32),
        )

    def _vectors_of(self, material: MethodInputs) -> tuple[Tensor, Tensor, Neighbours]:
        """Vectors of all target tokens, of all source tokens (zeros for none), and which tokens may explain which."""
        if self.vectors is not None:
            both = open_vectors(self.vectors)
            queries, sources = look_up(both, material.target), look_up(both, material.source)
            return queries, sources, text_keys(material, material.new, queries, sources)
        queries = material.auxiliary
        near = find_neighbours(material, queries, keys=queries, method="TokenAdapt")
        sources = queries.new_zeros(material.source.size, queries.shape[1])
        sources[torch.from_numpy(near.key_sources)] = queries[torch.from_numpy(near.key_targets)]
        return queries, sources, near

    def _near(self, material: MethodInputs, queries: Tensor, sources: Tensor, near: Neighbours) -> Entries:
        """The neighbours' weights by places among the new tokens; a row sums to 1."""
        check_enough_keys("neighbours", self.neighbours, near)

        def prepare(device: torch.device) -> Callable[[Tensor], SparseRows]:
            keys = sources[torch.from_numpy(near.key_sources)].float().to(device)

            def weigh(block: Tensor) -> SparseRows:
                cosines, nearest = ops.cosine_topk(queries[block].float().to(device), keys, self.neighbours)
                alike = (nearest >= 0) & (cosines >= 0)
                raised = (cosines.double() / self.temperature).where(alike, -torch.inf)
                return rows_of_slots(nearest.where(alike, -1), raised.softmax(dim=1))

            return weigh

        made = combine_blocks(material, near, prepare, row_bytes=sources.shape[1] * torch.float32.itemsize)
        rows = np.searchsorted(material.new, np.repeat(made.target_ids, made.lengths))
        return Entries(rows, made.source_ids, made.values.astype(np.float64))

    def _pieces(self, material: MethodInputs, queries: Tensor, sources: Tensor) -> Entries:
        """The pieces' weights by places among the new tokens; a row sums to 1."""
        new = material.new
        lengths, pieces = segment_tokens(material, new)
        owners = np.repeat(np.arange(len(new)), lengths)
        shares = characters_of(material.source)[pieces] / characters_of(material.target)[new][owners]
        alike = _softmax(_cosines(queries, sources, new[owners], pieces), owners)
        return Entries(owners, pieces, _softmax((alike + shares) / 2 / self.temperature, owners))


def _softmax(values: npt.NDArray[np.float64], owners: Ints) -> npt.NDArray[np.float64]:
    """Over the entries of each row."""
    largest = np.full(int(owners.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(largest, owners, values)
    raised = np.exp(values - largest[owners])
    shares: npt.NDArray[np.float64] = raised / np.bincount(owners, raised)[owners]
    return shares


def _cosines(queries: Tensor, sources: Tensor, targets: Ints, pieces: Ints) -> npt.NDArray[np.float64]:
    """The cosine of each pair, 0 where one of the two has no vector: float64 [n]."""
    found = np.zeros(len(pieces))
    for begin in range(0, len(pieces), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        pair = (queries[torch.from_numpy(targets[block])].double(), sources[torch.from_numpy(pieces[block])].double())
        product = pair[0].norm(dim=1) * pair[1].norm(dim=1)
        dots = (pair[0] * pair[1]).sum(dim=1)
        found[block] = torch.where(product > 0, dots / product, 0.0).numpy()
    return found
