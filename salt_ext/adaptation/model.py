"""The model that is trained: opened and checked, and what of it learns in a phase."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from salt_ext.adaptation.phases import ALL, ROWS, VOCABULARY, Phase
from salt_ext.checkpoint import Checkpoint, ModelOptions
from salt_ext.checkpoint.architecture import head_of
from salt_ext.checkpoint.header import FLOATING
from salt_ext.checkpoint.names import PLAN_FILE
from salt_ext.errors import InputError
from salt_ext.evaluation.opening import LONGEST_CONTEXT, causal_config, open_causal
from salt_ext.plan import TransferPlan
from salt_ext.vocab import load_tokenizer


@dataclass(frozen=True)
class Subject:
    """A model folder that can be trained.

    Attributes:
        checkpoint: the folder.
        tokenizer: which lies in it.
        dtype: of its weights, for the most part.
        outputs: the numbers that the model gives for each token.
        longest: tokens that it reads at once at most.
        new_rows: int64 [n], the rows of new tokens; None where the folder has no plan.
    """

    checkpoint: Checkpoint
    tokenizer: PreTrainedTokenizerBase
    dtype: torch.dtype
    outputs: int
    longest: int
    new_rows: Tensor | None

    @classmethod
    def open(cls, model: str | Path, *, trust_remote_code: bool) -> Subject:
        """Opens a folder or a hub name, from its headers; weights are read by `open_causal`.

        Raises:
            InputError: there is no such model, it is no causal language model, its weights are quantised, or its
                tokenizer has ids without a row in its table.
        """
        checkpoint = Checkpoint.open(model, what="model", options=ModelOptions(trust_remote_code=trust_remote_code))
        folder = checkpoint.folder
        config = causal_config(folder, trust=trust_remote_code)
        floating: dict[torch.dtype, int] = {}
        for info in checkpoint.tensors.values():
            if info.dtype in FLOATING and info.torch_dtype is not None:
                floating[info.torch_dtype] = floating.get(info.torch_dtype, 0) + info.nbytes
        if "quantization_config" in checkpoint.config or not floating:
            raise InputError("model has quantised weights, expected ones that can be trained: dequantise it first")
        tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
        checkpoint.require_rows(tokenizer.get_vocab().values())
        inner = config.get_text_config()
        return cls(
            checkpoint,
            tokenizer,
            max(floating, key=lambda dtype: floating[dtype]),
            int(inner.vocab_size),
            int(getattr(inner, "max_position_embeddings", None) or LONGEST_CONTEXT),
            _new_rows(folder / PLAN_FILE),
        )

    def context(self, wanted: int | None) -> int:
        """Tokens of a window.

        Raises:
            InputError: the model cannot read so many at once.
        """
        if wanted is not None and wanted > self.longest:
            raise InputError(f"context is {wanted}, but the model reads at most {self.longest} tokens at once")
        return wanted or min(LONGEST_CONTEXT, self.longest)

    def require_new_rows(self) -> Tensor:
        """The rows of new tokens.

        Raises:
            InputError: nobody knows them, or there are none.
        """
        if self.new_rows is None or not len(self.new_rows):
            reason = f"{self.checkpoint.folder} has no {PLAN_FILE}" if self.new_rows is None else "there are none"
            raise InputError(f"phase {ROWS} trains the rows of new tokens, but {reason}: expected what transfer made")
        return self.new_rows


def uses_peft(phase: Phase, lora: int | None) -> bool:
    """Whether a phase trains parameters of peft's, which are merged into the model behind it."""
    return phase.trains == ROWS or (phase.trains == ALL and lora is not None)


def prepare(model: PreTrainedModel, phase: Phase, *, rows: Tensor | None, lora: int | None) -> Any:
    """The model with what a phase trains, and nothing else, wanting gradients.

    Args:
        model: in float32; it is changed.
        phase: of the training.
        rows: int64 [n], those of new tokens.
        lora: rank of the body's adapters; None for none.

    Returns:
        The model, or peft's around it.

    Raises:
        InputError: the model's tables are not where transformers has them, or peft cannot train them.
    """
    tables = _tables(model)
    if not uses_peft(phase, lora):
        model.requires_grad_(phase.trains == ALL)
        for module in tables.values():
            module.requires_grad_(phase.trains in (ALL, VOCABULARY))
        return model
    import peft

    tied = len({id(module.weight) for module in tables.values()}) < len(tables)
    # A table that is both is named once; peft finds the module that shares it.
    names = list(tables)[:1] if tied else list(tables)
    if phase.trains == ROWS:
        assert rows is not None
        if any(getattr(module, "bias", None) is not None for module in tables.values()):
            raise InputError(f"phase {ROWS}: the model's head has a bias, which peft leaves out; train the vocabulary")
        config: Any = peft.TrainableTokensConfig(
            token_indices=rows.tolist(), target_modules=names, task_type=peft.TaskType.CAUSAL_LM
        )
    else:
        config = peft.LoraConfig(
            r=lora or 1,
            lora_alpha=2 * (lora or 1),
            target_modules="all-linear",
            modules_to_save=names,
            ensure_weight_tying=tied,
            task_type=peft.TaskType.CAUSAL_LM,
        )
    with warnings.catch_warnings():
        # peft warns of tied tables in general; both ways that are used here train the one table that both read.
        warnings.simplefilter("ignore", UserWarning)
        return peft.get_peft_model(model, config)


def merged(folder: Path, adapter: Path, *, trust_remote_code: bool) -> PreTrainedModel:
    """The model of a folder with an adapter's numbers worked into its weights, float32.

    Raises:
        InputError: peft made two tables of one that is input and head, as it did before version 0.19.
    """
    import peft

    model = open_causal(folder, trust=trust_remote_code)
    count = len({id(module.weight) for module in _tables(model).values()})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # as in `prepare`
        whole: PreTrainedModel = peft.PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    if len({id(module.weight) for module in _tables(whole).values()}) != count:
        raise InputError(f"peft {peft.__version__} unties the model's tables, expected 0.19 or later")
    return whole


def _tables(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Input table, and head where it has a weight, by the names of their modules."""
    try:
        parts = [model.get_input_embeddings(), head_of(model)]
    except (AttributeError, NotImplementedError):
        parts = []
    wanted = {id(part) for part in parts if isinstance(getattr(part, "weight", None), nn.Parameter)}
    found = {name: module for name, module in model.named_modules() if id(module) in wanted}
    if not found:
        raise InputError("model has no table that transformers knows as its input table")
    return found


def _new_rows(file: Path) -> Tensor | None:
    """Those that are neither copied nor padding."""
    if not file.is_file():
        return None
    return TransferPlan.load(file).is_new.nonzero()[:, 0]
