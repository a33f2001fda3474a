"""What the moved model makes of a text, at once and after a small adaptation, the same for every plan.

Each plan's model is written to a temporary folder as `salt-ext transfer` would write it, opened by transformers in
float32, and removed: so ties, heads, biases and tables of every architecture are right without a second implementation,
for the disk space of one model and the time of writing it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from salt_ext.apply import new_tensors
from salt_ext.checkpoint import write_checkpoint
from salt_ext.checkpoint.adapters import without_adapter
from salt_ext.checkpoint.model_config import model_config
from salt_ext.device import Placement
from salt_ext.errors import InputError, OutputError, brief
from salt_ext.evaluate import TextScore, TokenStream, adapt_stream, measure_stream
from salt_ext.inputs import Pair, moved_configs
from salt_ext.plan import TransferPlan
from salt_ext.progress import without_progress_bars
from salt_ext.vocab import Anchors

TOKENS_PER_STEP = 4096
_LONGEST_CONTEXT = 512
_CANNOT_RUN = "source cannot be run as a causal language model, and compare measures what it makes of a text"


@dataclass(frozen=True)
class Adaptation:
    """The training that every model gets; see `salt_ext.evaluate.adapt`.

    Attributes:
        stream: what it reads, encoded.
        steps: updates, each of `TOKENS_PER_STEP` tokens.
        lr: the highest learning rate.
    """

    stream: TokenStream
    steps: int
    lr: float


@dataclass(frozen=True)
class Bench:
    """Measures models of one pair, one after another.

    Attributes:
        pair: source and new tokenizer.
        anchors: what they share.
        held_out: the text to measure on, encoded by the new tokenizer.
        context: tokens that a model reads at once.
        adaptation: None for none.
        device: where the models run.
    """

    pair: Pair
    anchors: Anchors
    held_out: TokenStream
    context: int
    adaptation: Adaptation | None
    device: torch.device

    def source(self, stream: TokenStream) -> TextScore:
        """The source itself on the text, encoded by its own tokenizer.

        Raises:
            InputError: transformers cannot open the source as a causal language model.
        """
        return measure_stream(self._open(self.pair.source.checkpoint.folder), stream, context=self.context)

    def try_plan(
        self, plan: TransferPlan, *, seed: int, progress: Callable[[int, int], None]
    ) -> tuple[TextScore, TextScore | None]:
        """The model that a plan makes, measured at once and, if there is an adaptation, behind it.

        Args:
            plan: of the pair.
            seed: of the order in which the adaptation reads its text.
            progress: told (steps done, steps in all).

        Raises:
            OutputError: the folder for temporary files cannot take the model.
        """
        checkpoint = self.pair.source.checkpoint
        configs = moved_configs(self.pair, self.anchors, rows=plan.target_rows)
        with tempfile.TemporaryDirectory(prefix="salt-compare-") as scratch:
            folder = Path(scratch) / "model"
            try:
                write_checkpoint(
                    checkpoint,
                    folder,
                    tensors=new_tensors(checkpoint, plan, placement=Placement(self.device)),
                    config=configs.config,
                    generation_config=configs.generation_config,
                    tokenizer=self.pair.target.tokenizer,
                    extra=lambda folder: None,
                    force=False,
                )
            except OutputError as error:
                reason = str(error).replace(str(folder), f"a model in {tempfile.gettempdir()}")
                raise OutputError(f"the folder for temporary files (TMPDIR) cannot be used: {reason}") from error
            try:
                model = self._open(folder)
            except InputError as error:
                raise InputError(str(error).replace(str(folder), "the moved model")) from error
        before = measure_stream(model, self.held_out, context=self.context)
        if self.adaptation is None:
            return before, None
        adapt_stream(
            model,
            self.adaptation.stream,
            steps=self.adaptation.steps,
            tokens_per_step=TOKENS_PER_STEP,
            lr=self.adaptation.lr,
            seed=seed,
            context=self.context,
            progress=progress,
        )
        return before, measure_stream(model, self.held_out, context=self.context)

    def _open(self, folder: Path) -> PreTrainedModel:
        trust = self.pair.source.checkpoint.options.trust_remote_code
        try:
            with without_progress_bars(), without_adapter(folder) as place:
                config = model_config(folder, trust_remote_code=trust)
                model: Any = AutoModelForCausalLM.from_pretrained(
                    place, config=config, dtype=torch.float32, trust_remote_code=trust
                )
        except (ValueError, OSError, RuntimeError) as error:
            raise InputError(f"{_CANNOT_RUN}: {brief(error)}") from error
        moved: PreTrainedModel = model.to(self.device)
        return moved


def context_of(pair: Pair) -> int:
    """Tokens that the source reads at once: as many as it can, at most 512.

    Raises:
        InputError: it is an encoder-decoder, which does not continue a text, or transformers does not know it.
    """
    checkpoint = pair.source.checkpoint
    trust = checkpoint.options.trust_remote_code
    try:
        config = model_config(checkpoint.folder, trust_remote_code=trust)
    except (ValueError, OSError) as error:
        raise InputError(f"{_CANNOT_RUN}: {brief(error)}") from error
    if config.is_encoder_decoder:
        raise InputError(f"source is an encoder-decoder ({config.model_type}), expected a causal language model")
    longest = getattr(config.get_text_config(), "max_position_embeddings", None) or _LONGEST_CONTEXT
    return min(_LONGEST_CONTEXT, int(longest))
