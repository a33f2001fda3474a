"""The transfer plan: how every row of the new tables is made from rows of the old ones.

A plan is a sparse matrix of weights, target rows by source rows, with a provenance for each row; where a method has
them, a dense low-rank term, a scaling of the new rows and a distribution for the drawn ones are named parts of it. It
knows nothing of widths, dtypes or models: the same plan makes the input table, an untied head and the head's bias, and
those of every sibling of the source. What distillation taught rows is a part of its own, which has the source's width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from salt_ext.display.notebook import html_table
from salt_ext.errors import InputError
from salt_ext.plan.check import DTYPES, check_plan
from salt_ext.plan.data import DensePart, Draw, LowRank, Norms, Provenance
from salt_ext.plan.file import EXTRA, load_plan, save_plan
from salt_ext.plan.materialise import make_rows


@dataclass(frozen=True, eq=False, repr=False)
class TransferPlan:
    """Weights [target_rows, source_rows] in canonical CSR, and where each row comes from. All tensors lie on the CPU.

    Attributes:
        crow_indices: int64 [target_rows + 1], where each row's entries begin and end.
        col_indices: int64 [nnz], source token ids, strictly ascending within a row.
        values: float32 [nnz], finite. A COPIED row has the single entry 1; only COPIED and REGRESSED rows have entries.
        provenance: uint8 [target_rows], values of `Provenance`.
        residual: float32 [target_rows], ||q - wA|| / ||q|| in donor space; nan where there was no regression.
        source_rows: the number of source rows that are tokens. A table may have more: rows from here on are padding,
            which no weight names and no mean counts.
        seed: of the SAMPLED rows.
        metadata: strings to keep with the plan, such as the names of source and donor.
        head_values: float32 [nnz], weights that make an output table in place of `values`; None where they are equal.
        low_rank: what REGRESSED rows get on top of their weighted sum, None for nothing.
        norms: how REGRESSED rows are scaled.
        norm_anchors: int64 [n], strictly ascending, the COPIED rows whose norms tell how; None for all of them.
        draw: what SAMPLED rows are drawn from.
        dense: what REGRESSED, AVERAGED and SAMPLED rows of the input table and the head get on top of all this.

    Raises:
        InputError: a tensor has another dtype or length, the CSR is not canonical, or a row contradicts its provenance.
    """

    crow_indices: Tensor
    col_indices: Tensor
    values: Tensor
    provenance: Tensor
    residual: Tensor
    source_rows: int
    seed: int
    metadata: dict[str, str] = field(default_factory=dict)
    head_values: Tensor | None = None
    low_rank: LowRank | None = None
    norms: Norms = Norms.KEPT
    norm_anchors: Tensor | None = None
    draw: Draw = Draw.INDEPENDENT
    dense: DensePart | None = None

    def __post_init__(self) -> None:
        check_plan(self)

    def __repr__(self) -> str:
        made = ", ".join(f"{count:,} {name}" for name, count in self._counts().items() if count)
        return f"TransferPlan({self.target_rows:,} rows from {self.source_rows:,}: {made})"

    def _repr_html_(self) -> str:
        rows = [
            (name, f"{count:,}", f"{count / max(1, self.target_rows):.1%}") for name, count in self._counts().items()
        ]
        title = f"{self.target_rows:,} rows from {self.source_rows:,}"
        return html_table(title, ("rows", "count", "share"), rows)

    @property
    def target_rows(self) -> int:
        """The number of rows that the plan makes."""
        return self.provenance.shape[0]

    def rows(self, provenance: Provenance) -> Tensor:
        """The target ids of this provenance, int64, ascending."""
        return (self.provenance == provenance).nonzero()[:, 0]

    def _counts(self) -> dict[str, int]:
        return {kind.name.lower(): len(self.rows(kind)) for kind in Provenance}

    @property
    def is_new(self) -> Tensor:
        """bool [target_rows], the rows of tokens that are not the source's own: neither COPIED nor PADDING."""
        return (self.provenance != Provenance.COPIED) & (self.provenance != Provenance.PADDING)

    def copies(self) -> tuple[Tensor, Tensor]:
        """The target ids of the COPIED rows, ascending, and the source id of each, int64."""
        rows = self.rows(Provenance.COPIED)
        return rows, self.col_indices[self.crow_indices[rows]]

    def apply(
        self,
        table: Tensor,
        *,
        head: bool = False,
        learned: bool = True,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
    ) -> Tensor:
        """Makes the new table from an old one.

        COPIED rows are bit-equal to the source's, or its rows converted. REGRESSED rows are summed in float32 (float64
        where the old or the new table is float64) and rounded once. AVERAGED and PADDING rows are the mean of the
        `source_rows` rows, accumulated in float64; SAMPLED rows are drawn in float64 by a generator with the plan's
        seed, see `Draw`, so that tables of equal width are drawn from equal numbers.

        Args:
            table: [at least source_rows, ...] of float16, bfloat16, float32 or float64; a bias has one dimension.
            head: whether it makes outputs (an untied head, its bias), for which a plan may have weights of their own.
            learned: whether the rows get what training added to them; it belongs to the input table and the head alone.
            dtype: of the new table, one of the four; None for the old one's.
            device: where REGRESSED rows are summed; only the source rows that they use go there. None: the table's.

        Returns:
            [target_rows, ...] on the table's device. Beyond it, memory is bounded by blocks, or by the old table in
            `dtype` where that is the wider one; a multivariate draw takes width^2 float64 numbers.

        Raises:
            InputError: the table has another dtype or fewer rows than `source_rows`; or, with `learned`, another width
                than the dense part.
        """
        dtype = dtype or table.dtype
        if not table.is_floating_point() or table.element_size() < 2:
            raise InputError(f"table has dtype {table.dtype}, expected float16, bfloat16, float32 or float64")
        if table.ndim < 1 or table.shape[0] < self.source_rows:
            raise InputError(f"table has shape {list(table.shape)}, expected at least {self.source_rows} rows")
        old = table.detach()[: self.source_rows].reshape(self.source_rows, -1)
        if torch.promote_types(old.dtype, dtype) != old.dtype:
            old = old.to(torch.promote_types(old.dtype, dtype))
        dense = self.dense if learned else None
        if dense is not None and dense.input.shape[1] != old.shape[1]:
            width = dense.input.shape[1]
            raise InputError(
                f"table has rows of {old.shape[1]} numbers, expected {width}: the plan's dense part adds to it"
            )
        new = make_rows(self, old, dtype=dtype, head=head, learned=dense, device=device or old.device)
        return new.reshape(self.target_rows, *table.shape[1:])

    def explain(self, target_id: int) -> list[tuple[int, float]]:
        """The source tokens of one row and their weights, the largest magnitude first; empty without a source token.

        Raises:
            InputError: there is no such row.
        """
        if not 0 <= target_id < self.target_rows:
            raise InputError(f"target_id is {target_id}, expected 0 to {self.target_rows - 1}")
        begin, end = self.crow_indices[target_id : target_id + 2].tolist()
        entries = zip(self.col_indices[begin:end].tolist(), self.values[begin:end].tolist(), strict=True)
        return sorted(entries, key=lambda entry: (-abs(entry[1]), entry[0]))

    def save(self, path: Path) -> None:
        """Writes the plan as a safetensors file.

        Raises:
            OutputError: the file cannot be written.
        """
        save_plan(
            path,
            {name: getattr(self, name) for name in DTYPES},
            extra={name: getattr(self, name) for name in EXTRA},
            low_rank=self.low_rank,
            dense=self.dense,
            header={
                "seed": str(self.seed),
                "source_rows": str(self.source_rows),
                "draw": self.draw.value,
                "norms": self.norms.value,
            }
            | self.metadata,
        )

    @classmethod
    def load(cls, path: Path) -> TransferPlan:
        """Reads a plan that `save` wrote.

        Raises:
            InputError: the file is missing, corrupt, of another version, or not a valid plan.
        """
        parts = load_plan(path)
        try:
            return cls(**parts)
        except InputError as error:
            raise InputError(f"{path} is not a valid transfer plan: {error}") from None
