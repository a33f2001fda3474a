"""The source's body, opened once, under the tables of one plan after another.

All moved models of a pair differ in what the vocabulary indexes alone. The first plan's model is written to a temporary
folder as `salt-ext transfer` would write it and opened by transformers; of the others only the tables' numbers are put
into it, in place. Where a model's tables cannot be told apart with certainty, see `find_slots`, every plan's model is
written and opened: slower, and right for every architecture.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from salt_ext.comparison.opening import open_moved, open_source
from salt_ext.comparison.slots import fill_slots, find_slots, row_parameters
from salt_ext.evaluation.measuring import Stop, measure_stream
from salt_ext.evaluation.opening import causal_config, context_of
from salt_ext.evaluation.precision import fast_dtype
from salt_ext.evaluation.token_stream import TextScore, TokenStream
from salt_ext.evaluation.training import adapt_stream
from salt_ext.pair.pair import Pair
from salt_ext.pair.source_tables import SourceTables
from salt_ext.plan import TransferPlan
from salt_ext.runtime.device import Placement
from salt_ext.vocab import Anchors


class Body:
    """Moved models of one pair, one at a time, measured and trained.

    Weights are float32, matrix products are taken in `dtype`: see `salt_ext.evaluation.precision`. Memory: the model
    in float32; with a training of all parameters a copy of the body besides, in the narrowest dtype that holds it, and
    what the optimizer takes. Nothing of one plan is left when the next one is measured, its training neither.

    Attributes:
        context: tokens that the model reads at once, at most 512.
        device: where the models run.
        dtype: what matrix products are taken in.
    """

    def __init__(
        self, pair: Pair, anchors: Anchors, *, device: torch.device, dtype: torch.dtype | None, context: int
    ) -> None:
        self.context = context
        self.device = device
        self.dtype = dtype or fast_dtype(device)
        self._pair = pair
        self._anchors = anchors
        self._model: PreTrainedModel | None = None
        self._slots: dict[str, torch.nn.Parameter] | None = None
        self._in_place: TransferPlan | None = None
        self._kept: dict[str, Tensor] = {}

    @classmethod
    def open(cls, pair: Pair, anchors: Anchors, *, device: torch.device, dtype: torch.dtype | None = None) -> Body:
        """Looks whether the source can be run; weights are read with the first plan.

        Args:
            pair: source and new tokenizer.
            anchors: what they share.
            device: where the models run.
            dtype: what matrix products are taken in, bfloat16 or float32; None for the faster one, see `fast_dtype`.

        Raises:
            InputError: the source is an encoder-decoder, or transformers does not know it.
        """
        source = pair.source.checkpoint
        config = causal_config(source.folder, trust=source.options.trust_remote_code, what=source.what)
        return cls(pair, anchors, device=device, dtype=dtype, context=context_of(config))

    @property
    def swaps(self) -> bool:
        """Whether only tables are changed from plan to plan; known with the first plan, False before."""
        return self._slots is not None

    def source(self, stream: TokenStream, *, stop: Stop | None = None) -> TextScore:
        """The source itself on a text that is encoded by its own tokenizer; it is opened for this and closed.

        Raises:
            InputError: transformers cannot open it as a causal language model.
            StoppedError: by `stop`.
        """
        model = open_source(self._pair, device=self.device)
        return measure_stream(model, stream, context=self.context, dtype=self.dtype, stop=stop)

    def measure(self, plan: TransferPlan, stream: TokenStream, *, stop: Stop | None = None) -> TextScore:
        """The model that a plan makes on a text.

        Args:
            plan: of the pair; all plans of one body have as many rows.
            stream: the text, encoded by the new tokenizer.
            stop: asked before every batch; True ends the work.

        Raises:
            InputError: transformers cannot open the moved model as a causal language model.
            OutputError: the folder for temporary files cannot take the model.
            StoppedError: by `stop`.
        """
        return self._measure(self._moved(plan), stream, stop)

    def adapt_and_measure(
        self,
        plan: TransferPlan,
        train_stream: TokenStream,
        held_out: TokenStream,
        *,
        steps: int,
        tokens_per_step: int,
        lr: float,
        seed: int,
        only_new_rows: bool = False,
        progress: Callable[[int, int], None] | None = None,
        stop: Stop | None = None,
    ) -> TextScore:
        """The same after a short training, see `salt_ext.evaluation.text.adapt`, which is undone.

        Args:
            plan: of the pair.
            train_stream: what is trained on, encoded by the new tokenizer.
            held_out: what is measured on.
            steps: updates.
            tokens_per_step: rounded down to whole windows, at least one.
            lr: the highest learning rate.
            seed: of the order in which the text is read.
            only_new_rows: train the rows of new tokens in input table, untied head and head's bias; the body and the
                rows of anchors stay bit for bit. Else all parameters.
            progress: called with (steps done, steps in all).
            stop: asked before every batch; True ends the work.

        Raises:
            InputError: `train_stream` does not fill a window, a size is out of range, or as for `measure`.
            OutputError: as for `measure`.
            StoppedError: by `stop`.
        """
        model = self._moved(plan)
        if self._slots is not None and not only_new_rows and not self._kept:
            self._kept = {name: _narrow(tensor) for name, tensor in self._of_body(model)}
        only_rows = None
        if only_new_rows:
            new = self._new_tokens(plan)
            only_rows = [(table, new) for table in row_parameters(model, rows=plan.target_rows)]
        try:
            adapt_stream(
                model,
                train_stream,
                steps=steps,
                tokens_per_step=tokens_per_step,
                lr=lr,
                seed=seed,
                context=self.context,
                dtype=self.dtype,
                only_rows=only_rows,
                progress=progress,
                stop=stop,
            )
            return self._measure(model, held_out, stop)
        finally:
            self._undo(model, body=not only_new_rows)

    def close(self) -> None:
        """Forgets the model; the next plan opens it again."""
        self._model, self._slots, self._in_place = None, None, None
        self._kept = {}

    def _measure(self, model: PreTrainedModel, stream: TokenStream, stop: Stop | None) -> TextScore:
        return measure_stream(model, stream, context=self.context, dtype=self.dtype, stop=stop)

    def _moved(self, plan: TransferPlan) -> PreTrainedModel:
        """The model with the tables of a plan."""
        if self._model is not None and self._in_place is plan:
            return self._model
        checkpoint = self._pair.source.checkpoint
        tensors = SourceTables(checkpoint, self._pair.source.vocabulary.tokens).moved(
            plan, placement=Placement(self.device)
        )
        self._in_place = None
        if self._model is not None and self._slots is not None:
            fill_slots(self._slots, tensors)
        else:
            self._model = None  # two are never in memory
            self._model = open_moved(self._pair, self._anchors, tensors, rows=plan.target_rows, device=self.device)
            self._slots = find_slots(self._model, checkpoint.vocabulary_tensors(), tensors)
        self._in_place = plan
        return self._model

    def _new_tokens(self, plan: TransferPlan) -> Tensor:
        is_new = torch.ones(self._pair.target.vocabulary.size, dtype=torch.bool)
        is_new[plan.copies()[0]] = False
        return is_new.nonzero()[:, 0]

    def _undo(self, model: PreTrainedModel, *, body: bool) -> None:
        self._in_place = None
        if self._slots is None:
            self._model = None
        elif body:
            with torch.no_grad():
                for name, tensor in self._of_body(model):
                    tensor.copy_(self._kept[name])

    def _of_body(self, model: PreTrainedModel) -> list[tuple[str, Tensor]]:
        """What the vocabulary does not index, by name."""
        tables = {id(parameter) for parameter in (self._slots or {}).values()}
        named = [*model.named_parameters(), *model.named_buffers()]
        return [(name, tensor) for name, tensor in named if id(tensor) not in tables]


def _narrow(tensor: Tensor) -> Tensor:
    """A copy on the CPU, in bfloat16 where that holds every number."""
    kept = tensor.detach().to("cpu", copy=True)
    if kept.dtype == torch.float32 and torch.equal(kept.bfloat16().float(), kept):
        return kept.bfloat16()
    return kept
