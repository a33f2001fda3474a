"""What a plan and its norms say of the moved model's start: sentences where it is likely to be a bad one.

The thresholds part the methods that start well on SmolLM2-135M moved to German and Vietnamese from those that start
badly (`python_tests/benchmarks/real_llm`). Weights that do not add up to 1 decide most: what all rows of a real table
have in common is a large part of each, and what a head makes of it is the same for all tokens; a new row that has more
of it draws the probability of every next token to itself (SALT as published: 95 % of it in German, 100 % in
Vietnamese), one that has less is never said. How well anchors that are left out are rebuilt says nothing here: a cosine
of 0.165 belongs to a start of 4.8 bits per byte and to one of 2.3.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from salt_ext.pair.table_facts import TableFacts
from salt_ext.plan import Provenance, TransferPlan

_DRAWN = 0.01  # of the new tokens
_LARGE_MEAN = 0.3  # of a row's norm: SmolLM2's is 0.68
_SPREAD_OF_SUMS = 0.2  # from the 5th to the 95th percentile
_SHIFT_OF_SUMS = 0.1
_LARGE_WEIGHTS = 3.0
_FEWEST_NEIGHBOURS = 2
_SHORTEST, _LONGEST = 0.5, 1.5


def start_warnings(
    plan: TransferPlan, *, text: Tensor, before: Mapping[str, TableFacts], after: Mapping[str, Tensor], vectors: bool
) -> list[str]:
    """One sentence for each sign of a bad start.

    Args:
        plan: how each row was made.
        text: int64, target ids of the anchors that are text.
        before: facts of the source's tables, by name; what has one dimension only, such as a bias, is none of them.
        after: by name float64 [target rows], norms of the new rows.
        vectors: whether the method goes by vectors or donor rows, and so draws only what has none.
    """
    made, drawn = plan.rows(Provenance.REGRESSED), plan.rows(Provenance.SAMPLED)
    found = []
    new = len(made) + len(drawn)
    if vectors and len(drawn) > _DRAWN * new:
        found.append(f"{len(drawn)} of {new} new tokens ({len(drawn) / new:.1%}) have no vector: drawn at random")
    if not len(made):
        return found
    large = any(facts.mean_norm > _LARGE_MEAN * float(facts.norms.mean()) for facts in before.values())
    tables = {"new rows": plan.values, "the head's new rows": plan.head_values}
    for name, values in tables.items():
        if values is not None:
            found += _of_weights(name, *weight_sums(plan, values, made), large_mean=large)
    fitted = made[plan.residual[made].isfinite()]
    sizes = plan.crow_indices.diff()[fitted].double()
    if len(fitted) and float(sizes.median()) < _FEWEST_NEIGHBOURS:
        found.append("most new rows are explained by a single anchor: a higher temperature takes more of them")
    if len(fitted) and len(text) > 2 * _FEWEST_NEIGHBOURS and float(sizes.median()) > len(text) / 2:
        found.append("most new rows are explained by more than half of all anchors: a lower temperature takes fewer")
    return found + _of_norms(plan, made, text, before, after)


def weight_sums(plan: TransferPlan, values: Tensor, made: Tensor) -> tuple[Tensor, Tensor]:
    """What the weights of each row add up to, the dense part's as well, and what the sparse ones' magnitudes do.

    Args:
        plan: whose rows.
        values: its weights, of the input table or the head.
        made: int64 [n], which rows.

    Returns:
        float64 [n] each.
    """
    owners = torch.repeat_interleave(torch.arange(plan.target_rows), plan.crow_indices.diff())
    nothing = torch.zeros(plan.target_rows, dtype=torch.float64)
    sums, magnitudes = (nothing.index_add(0, owners, each.double()) for each in (values, values.abs()))
    if plan.low_rank is not None:
        sums[plan.low_rank.rows] += plan.low_rank.left @ plan.low_rank.right.sum(dim=1, dtype=torch.float64).float()
    return sums[made], magnitudes[made]


def _of_weights(name: str, sums: Tensor, magnitudes: Tensor, *, large_mean: bool) -> list[str]:
    found = []
    low, middle, high = sums.quantile(torch.tensor([0.05, 0.5, 0.95]).double()).tolist()
    if large_mean and (high - low > _SPREAD_OF_SUMS or abs(middle - 1) > _SHIFT_OF_SUMS):
        found.append(
            f"the weights of {name} add up to {low:.2f} to {high:.2f} (5 % to 95 %), not to 1: they have more or less "
            "of what all rows of the source share, and the model starts badly; salt-plus, subword, and affine options "
            "(intercept=true, weights=barycentric) do better"
        )
    if (largest := float(magnitudes.median())) > _LARGE_WEIGHTS:
        found.append(
            f"\u2016w\u2016\u2081 of {name} is {largest:.1f} in the median: they extrapolate far beyond the rows that "
            "they are made of, and the model starts badly; a ridge, where the method has one, makes them more careful"
        )
    return found


def _of_norms(
    plan: TransferPlan, made: Tensor, text: Tensor, before: Mapping[str, TableFacts], after: Mapping[str, Tensor]
) -> list[str]:
    copied, sources = plan.copies()
    anchors = sources[torch.isin(copied, text)]
    found = []
    for name, facts in before.items():
        usual = float(facts.norms[anchors].median()) if len(anchors) else 0.0
        if usual > 0 and not _SHORTEST <= (ratio := float(after[name][made].median()) / usual) <= _LONGEST:
            found.append(f"{name}: new rows are {ratio:.2f} times as long as anchors in the median, expected about 1")
    return found
