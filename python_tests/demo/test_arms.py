"""Control plans and the table, on plans small enough to check by eye."""

from __future__ import annotations

import torch

from salt_ext.demo.arms import Outcome, control_plan
from salt_ext.demo.table import markdown_table
from salt_ext.evaluation.text import TextScore
from salt_ext.plan import Provenance, TransferPlan


def small_plan() -> TransferPlan:
    """Rows: regressed from 0 and 2, copied from 3, averaged, copied from 0, sampled."""
    return TransferPlan(
        crow_indices=torch.tensor([0, 2, 3, 3, 4, 4]),
        col_indices=torch.tensor([0, 2, 3, 0]),
        values=torch.tensor([0.5, -2.0, 1.0, 1.0]),
        provenance=torch.tensor([1, 0, 2, 0, 3], dtype=torch.uint8),
        residual=torch.tensor([0.25, *[float("nan")] * 4]),
        source_rows=4,
        seed=11,
        metadata={"method": "salt", "donor": "d"},
    )


def test_controls_keep_the_copied_rows_and_replace_all_others() -> None:
    table = torch.tensor([[1.0, 8.0], [2.0, 6.0], [4.0, 2.0], [5.0, 0.0]])
    mean = control_plan(small_plan(), "mean")
    assert mean.apply(table).tolist() == [[3, 4], [5, 0], [3, 4], [1, 8], [3, 4]]
    assert mean.metadata == {"method": "mean", "donor": "d"}
    random = control_plan(small_plan(), "random")
    assert random.provenance.tolist() == [Provenance.SAMPLED, 0, Provenance.SAMPLED, 0, Provenance.SAMPLED]
    assert random.seed == 11
    made = random.apply(table)
    assert made[[1, 3]].tolist() == [[5, 0], [1, 8]]
    assert len({tuple(row) for row in made.tolist()}) == 5


def test_markdown_table() -> None:
    arms = [Outcome("mean", TextScore(24.0, 8, 5, 0), TextScore(10.0, 8, 5, 0)), Outcome("x", TextScore(1.0, 3, 1, 0))]
    assert markdown_table(arms, arms[1:], adapted="later").splitlines() == [
        "| model | bits per byte at once | later |",
        "| --- | ---: | ---: |",
        "| mean | 3.000 | 1.250 |",
        "| x | 0.333 | - |",
        "| x | 0.333 | - |",
    ]
    assert markdown_table(arms, [], adapted=None).splitlines()[2] == "| mean | 3.000 |"
    lossy = Outcome("lossy", TextScore(3.0, 3, 1, 2))
    below = markdown_table(arms, [lossy], adapted=None).splitlines()[-1]
    assert below == "Too good, since the tokenizer alters text: lossy (2 documents)."
