"""Trans-tokenization (Remy et al. 2024): a token is the mean of the source tokens that it translates.

How a table of aligned tokens becomes rows, and where the authors' program is not followed, see `alignment.rows`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from salt_ext.alignment.table import read_table
from salt_ext.errors import InputError
from salt_ext.files.paths import require_file
from salt_ext.methods.alignment_rows import trans_tokenization
from salt_ext.methods.core.assembly import Combinations
from salt_ext.methods.core.inputs import MethodInfo, MethodInputs


@dataclass(frozen=True)
class TransTokenization:
    """e = sum over the source tokens that the token translates, by how often it does.

    Attributes:
        alignment: the table that `salt-ext align` made of the same two tokenizers.
        copy_shared: copy all tokens that both share; by the paper's letter those that are aligned are made anew.

    Raises:
        InputError: no alignment is given, or it is no table.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        name="trans-tokenization",
        summary="the mean of the source tokens that it translates in parallel text",
        paper="Remy et al. 2024, COLM",
        cost="the pairs of the alignment",
        needs=("alignment",),
    )

    alignment: Path | None = None
    copy_shared: bool = False

    def __post_init__(self) -> None:
        if self.alignment is None:
            raise InputError(
                "method trans-tokenization needs an alignment of the two tokenizers: make one with salt-ext align and "
                "pass it as --alignment FILE"
            )
        require_file(Path(self.alignment), "alignment")

    def combine(self, material: MethodInputs) -> Combinations:
        """Makes every token that is aligned, equal to a source token, a number, or like one of these.

        Raises:
            InputError: the alignment cannot be read, is empty, or is of other tokenizers.
        """
        table = read_table(Path(str(self.alignment)))
        if material.swapped is not None:
            table = table.swapped(*material.swapped, material.target)
        made = trans_tokenization(
            table, material.anchors, material.source, material.target, copy_shared=self.copy_shared
        )
        return replace(made.combined, facts={"coverage": made.coverage()})
