"""FOCUS (Dobler & de Melo 2023): the sparsemax weights themselves are the weights of the source rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.checks import check_positive
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs
from salt_ext.methods.core.neighbours import SparseRows, combine_blocks, find_neighbours


@dataclass(frozen=True)
class Focus:
    """e = sum over anchors of sparsemax(cos(f(t), f(S)) / temperature) times their source rows.

    Attributes:
        temperature: of the sparsemax, above 0; the published function has 1.

    Raises:
        InputError: the temperature is out of range.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="focus",
        summary="sparsemax of its cosines with the anchors weights their source rows",
        paper="Dobler & de Melo 2023, EMNLP",
        cost="new x anchors x D",
        needs=("auxiliary vectors",),
    )

    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_positive("temperature", self.temperature)

    def combine(self, material: MethodInputs) -> Combinations:
        """New tokens with an auxiliary vector are made, the others left.

        Raises:
            InputError: fewer than two anchors have an auxiliary vector.
        """
        auxiliary = material.auxiliary
        neighbours = find_neighbours(material, auxiliary, keys=auxiliary, method="FOCUS")
        key_rows = torch.from_numpy(neighbours.key_targets)

        def prepare(device: torch.device) -> Callable[[Tensor], SparseRows]:
            keys = auxiliary[key_rows].to(device)

            def weigh(block: Tensor) -> SparseRows:
                crow, col, values = ops.cosine_sparsemax(
                    auxiliary[block].to(device), keys, temperature=self.temperature
                )
                return SparseRows(crow, col, values.float())

            return weigh

        row_bytes = auxiliary.shape[1] * auxiliary.element_size()
        return combine_blocks(material, neighbours, prepare, row_bytes=row_bytes)
