"""What every method must hold to, as a check that its author can call: `check_method`, after scikit-learn's
`check_estimator`."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from salt_ext.errors import InputError
from salt_ext.methods.core.assembly import Combinations, assemble_plan
from salt_ext.methods.core.inputs import Method, MethodInfo, MethodInputs
from salt_ext.methods.core.needs import AUXILIARY, DONOR_TABLE, needs_of
from salt_ext.methods.core.registry import is_required
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.vocab import Vocabulary, match_vocabularies

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_WIDTHS = {"donor": 20, "auxiliary": 12, "source": 16}


def check_method(method: type[Method] | Method) -> None:
    """Holds a method to its contract, on two small made-up vocabularies and tables.

    Args:
        method: the class, whose options then have their defaults; or an instance, where some have none.

    Raises:
        AssertionError: something that `salt_ext.methods` relies on does not hold; the sentence says what.
    """
    made = method() if isinstance(method, type) else method
    _check_declaration(made)
    inputs = example_inputs()
    name = made.info.name
    combined = _check_combinations(made, inputs)
    again = _check_combinations(made, example_inputs())
    _require(_same(combined, again), f"{name} does not give the same twice for the same inputs and seed")
    plan = _plan(combined, inputs)
    copied = np.setdiff1d(inputs.anchors.target_ids, combined.target_ids)
    kinds = plan.provenance.numpy()[copied]
    _require(bool((kinds == Provenance.COPIED).all()), f"{name}: an anchor that it does not make is not copied")
    for what, changed in _variants(inputs).items():
        try:
            _check_combinations(made, changed)
        except InputError:  # it may refuse, in a sentence
            continue
        except AssertionError as error:
            raise AssertionError(f"with {what}: {error}") from error
        except Exception as error:
            raise AssertionError(
                f"{name} with {what} raises {type(error).__name__}, not InputError: {error}"
            ) from error
    if not {DONOR_TABLE, AUXILIARY} & set(needs_of(made)):
        _check_combinations(made, replace(inputs, read_donor=_no_table, read_auxiliary=_no_table))


def example_inputs() -> MethodInputs:
    """Two byte-level vocabularies that share a third of their tokens, and tables of normal numbers; always the same."""
    draw = random.Random(0)
    syllables = ["an", "en", "ter", "lo", "mi", "sa", "ka", "über", "ung", "zei", "wor", "th", "ing", "oo"]
    texts = [
        [" ".join("".join(draw.choices(known, k=draw.randint(1, 3))) for _ in range(9)) for _ in range(300)]
        for known in (syllables[:9], syllables[4:])
    ]
    old, new = (_tokenizer(lines) for lines in texts)
    source, target = (Vocabulary.from_tokenizer(each, name=what) for each, what in ((old, "source"), (new, "target")))
    generator = torch.Generator().manual_seed(0)
    sizes = {"donor": target.size, "auxiliary": target.size, "source": source.size}
    tables = {what: torch.randn(sizes[what], width, generator=generator) for what, width in _WIDTHS.items()}
    return MethodInputs(
        source=source,
        target=target,
        anchors=match_vocabularies(source, target),
        read_donor=lambda: tables["donor"],
        read_auxiliary=lambda: tables["auxiliary"],
        read_source=lambda: tables["source"],
        source_tokenizer=old,
        target_tokenizer=new,
    )


def _tokenizer(lines: list[str]) -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    inner.train_from_iterator(
        lines,
        trainers.BpeTrainer(
            vocab_size=360, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")


def _variants(inputs: MethodInputs) -> dict[str, MethodInputs]:
    """What users have besides: no vector for some tokens, narrow numbers, hardly an anchor."""

    def holes(table: Tensor) -> Tensor:
        changed = table.clone()
        changed[inputs.new[::2]] = 0
        return changed

    donor, auxiliary = inputs.donor, inputs.auxiliary
    kept = np.zeros(len(inputs.anchors), dtype=bool)
    kept[:1] = True
    return {
        "no vector for half of the new tokens": replace(
            inputs, read_donor=lambda: holes(donor), read_auxiliary=lambda: holes(auxiliary)
        ),
        "bfloat16 tables": replace(
            inputs, read_donor=lambda: donor.bfloat16(), read_auxiliary=lambda: auxiliary.bfloat16()
        ),
        "a single anchor": inputs.with_anchors(kept),
        "no anchor": inputs.with_anchors(np.zeros(len(inputs.anchors), dtype=bool)),
    }


def _check_declaration(method: Method) -> None:
    kind = type(method)
    info = getattr(kind, "info", None)
    _require(isinstance(info, MethodInfo), f"{kind.__name__}.info is {info!r}, expected a MethodInfo of the class")
    assert isinstance(info, MethodInfo)
    _require(_NAME.fullmatch(info.name) is not None, f"info.name is {info.name!r}, expected small letters and hyphens")
    for field in ("summary", "paper", "cost"):
        text = getattr(info, field)
        _require(
            isinstance(text, str) and bool(text) and "\n" not in text, f"info.{field} is {text!r}, expected a line"
        )
    frozen = is_dataclass(kind) and kind.__dataclass_params__.frozen
    _require(frozen, f"{kind.__name__} is not a frozen dataclass, whose fields are its options")
    for option in fields(kind):  # type: ignore[arg-type]
        named = not is_required(option) or option.name in info.needs
        _require(named, f"option {option.name} has no default and does not stand in info.needs")


def _check_combinations(method: Method, inputs: MethodInputs) -> Combinations:
    """Calls it, and checks what it returns and that it left its inputs alone."""
    name, before = method.info.name, _bytes(inputs)
    made = method.combine(inputs)
    _require(isinstance(made, Combinations), f"{name}.combine gives {type(made).__name__}, expected Combinations")
    _require(_bytes(inputs) == before, f"{name} changes a table that it was given")
    for what in ("target_ids", "lengths", "source_ids"):
        array = getattr(made, what)
        _require(array.dtype == np.int64 and array.ndim == 1, f"{name}: {what} is {array.dtype}, expected int64 [n]")
    allowed = np.union1d(inputs.new, inputs.anchors.target_ids[inputs.text_anchors])
    strange = np.setdiff1d(made.target_ids, allowed)
    _require(
        not len(strange), f"{name} makes ids {strange[:5]}, which are neither new tokens nor anchors that are text"
    )
    _require(len(np.unique(made.target_ids)) == len(made.target_ids), f"{name} makes a token twice")
    _require(len(made.lengths) == len(made.target_ids), f"{name}: lengths has another size than target_ids")
    entries = int(made.lengths.sum())
    for what in ("source_ids", "values", "head_values"):
        array = getattr(made, what)
        _require(
            array is None or len(array) == entries, f"{name}: {what} does not have the {entries} entries of lengths"
        )
    inside = (made.source_ids >= 0) & (made.source_ids < inputs.source.size)
    _require(bool(inside.all()), f"{name}: a source id lies outside of the source's vocabulary")
    for what in ("values", "head_values"):
        array = getattr(made, what)
        _require(array is None or array.dtype == np.float32, f"{name}: {what} is not float32")
        _require(array is None or bool(np.isfinite(array).all()), f"{name}: {what} holds NaN or infinity")
    rows = _plan(made, inputs).apply(inputs.source_table)
    _require(bool(rows.isfinite().all()), f"{name}: a new row holds NaN or infinity")
    return made


def _plan(made: Combinations, inputs: MethodInputs) -> TransferPlan:
    return assemble_plan(
        made, inputs.anchors, inputs.target, rows=inputs.target.size, source_rows=inputs.source.size, seed=inputs.seed
    )


def _same(one: Combinations, other: Combinations) -> bool:
    names = ("target_ids", "lengths", "source_ids", "values", "head_values")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def _bytes(inputs: MethodInputs) -> list[bytes]:
    readers: list[Callable[[], Any]] = [inputs.read_donor, inputs.read_auxiliary, inputs.read_source]
    return [b"" if read is _no_table else read().contiguous().view(torch.uint8).numpy().tobytes() for read in readers]


def _no_table() -> Tensor:
    raise AssertionError("info.needs names neither a donor table nor auxiliary vectors, and the method asks for one")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
