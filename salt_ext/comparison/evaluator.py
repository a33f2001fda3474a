"""What the moved model makes of a text, before training and after a small adaptation, the same for every plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from salt_ext.comparison.body import Body
from salt_ext.evaluation.token_stream import TextScore, TokenStream
from salt_ext.plan import TransferPlan

TOKENS_PER_STEP = 4096


@dataclass(frozen=True)
class Adaptation:
    """The training that every model gets; see `salt_ext.evaluation.text.adapt`.

    Attributes:
        stream: what it reads, encoded.
        steps: updates, each of `TOKENS_PER_STEP` tokens.
        lr: the highest learning rate.
    """

    stream: TokenStream
    steps: int
    lr: float


@dataclass(frozen=True)
class Evaluator:
    """Measures models of one pair, one after another.

    Attributes:
        body: what all plans share.
        held_out: the text to measure on, encoded by the new tokenizer.
        adaptation: None for none.
    """

    body: Body
    held_out: TokenStream
    adaptation: Adaptation | None

    def try_plan(
        self, plan: TransferPlan, *, seed: int, progress: Callable[[int, int], None]
    ) -> tuple[TextScore, TextScore | None]:
        """The model that a plan makes, measured before training and, if there is an adaptation, behind it.

        Args:
            plan: of the pair.
            seed: of the order in which the adaptation reads its text.
            progress: called with (steps done, steps in all).

        Raises:
            OutputError: the folder for temporary files cannot take the model.
        """
        before = self.body.measure(plan, self.held_out)
        if self.adaptation is None:
            return before, None
        after = self.body.adapt_and_measure(
            plan,
            self.adaptation.stream,
            self.held_out,
            steps=self.adaptation.steps,
            tokens_per_step=TOKENS_PER_STEP,
            lr=self.adaptation.lr,
            seed=seed,
            progress=progress,
        )
        return before, after
