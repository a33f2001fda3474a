"""Moves small random models of many classes of transformers, one line of JSON a class.

    python python_tests/matrix/sweep/move.py TYPE:CLASS...

A result is one of: "equal" (the new model's last hidden states, or logits where its head is no layer, on a text of
shared tokens are the source's bit for bit, every tensor that the vocabulary does not index is the source's, every
shared token's row as well), "moved" (the tensors are, but the class computes nothing from text alone), "refused" (with
the sentence), "not built" (no small model could be made, with transformers' reason), "wrong" (with what differs).
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TRANSFORMERS_VERBOSITY="critical")
sys.path.insert(0, str(Path(__file__).parent))

import torch
import transformers
from safetensors import safe_open
from shrink import small_config
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

import salt_ext
from salt_ext.errors import InputError

# Padding has one id in both: some classes count positions from it.
_SOURCE_SPECIAL, _TARGET_SPECIAL = ("</s>", "<pad>", "<s>", "<unk>"), ("<s>", "<pad>", "<unk>", "</s>")
_SHARED = [f"Ġ{a}{b}" for a in ("an", "ter", "lo", "mi", "sa", "ka") for b in ("en", "ru", "to", "ne", "li")]
_ROLES = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>"}
_PADDING = 13
_IMAGE = "<image>"


class NotBuiltError(Exception):
    """There is no such small model."""


def main() -> None:
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        source, target = _tokenizer(_SOURCE_SPECIAL, _SHARED, "q"), _tokenizer(_TARGET_SPECIAL, _SHARED[::-1], "z")
        _save_donor(work / "donor", target)
        for number, argument in enumerate(sys.argv[1:]):
            model_type, _, cls = argument.partition(":")
            start = time.time()
            print(json.dumps({"class": argument, "result": "started"}), flush=True)
            result, reason = _attempt(model_type, cls, source, target, work / str(number), work / "donor")
            row = {"class": argument, "result": result, "reason": reason, "seconds": round(time.time() - start, 1)}
            print(json.dumps(row), flush=True)


def _attempt(model_type: str, cls: str, source: Any, target: Any, work: Path, donor: Path) -> tuple[str, str]:
    work.mkdir()
    try:
        model = _build(model_type, cls, source)
        _save(model, work / "source", source)
    except NotBuiltError as error:
        return "not built", str(error)
    try:
        salt_ext.transfer(work / "source", donor, work / "out")
    except InputError as error:
        return "refused", str(error).replace(str(work), "")
    except Exception as error:
        return "wrong", f"{_line(error)} {traceback.format_exc()[-1500:]}"
    try:
        return _compare(type(model), source, target, work)
    except Exception as error:
        return "wrong", f"cannot be compared: {_line(error)} {traceback.format_exc()[-1500:]}"


def _tokenizer(special: tuple[str, ...], shared: list[str], only: str) -> PreTrainedTokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    own = [f"Ġ{only}{word[1:]}" for word in _SHARED]
    pieces = [*special, *own[:7], *letters, *shared, *own[7:]]
    inner = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, [], ignore_merges=True))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    if only == "q":
        inner.add_special_tokens([AddedToken(_IMAGE, normalized=False)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, **{f"{role}_token": token for role, token in _ROLES.items()})


def _save_donor(folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(5)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.LlamaModel(transformers.LlamaConfig(vocab_size=len(tokenizer), **size)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _build(model_type: str, cls: str, tokenizer: PreTrainedTokenizerFast) -> Any:
    ids = {role: getattr(tokenizer, f"{role}_token_id") for role in ("bos", "eos", "pad")}
    image = tokenizer.convert_tokens_to_ids(_IMAGE)
    try:
        made = getattr(transformers, cls)
        config = small_config(model_type, made, rows=len(tokenizer) + _PADDING, ids=ids, image=image)
        if not cls.endswith(("ForConditionalGeneration", "TextToText")) and config.is_encoder_decoder is False:
            config.is_decoder = True
        with torch.device("meta"):
            size = sum(p.numel() for p in made._from_config(config).parameters())
        if size > 30_000_000:
            raise NotBuiltError(f"still {size / 1e6:.0f}M parameters")
        torch.manual_seed(1)
        model = made._from_config(config)
    except NotBuiltError:
        raise
    except Exception as error:
        raise NotBuiltError(_line(error)) from error
    with torch.no_grad():
        for parameter in model.parameters():
            drawn = torch.randn_like(parameter) * 0.2
            parameter.copy_(drawn if parameter.ndim > 1 else parameter + drawn / 2)
        for name, buffer in model.named_buffers():
            if "tid2eid" in name:
                buffer.copy_(torch.randint_like(buffer, 4))
    return model.eval()


def _save(model: Any, folder: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _load(type(model), folder)
    except Exception as error:
        raise NotBuiltError(f"is not read back as it was saved: {_line(error)}") from error


def _load(cls: Any, folder: Path) -> Any:
    model, info = cls.from_pretrained(folder, dtype="auto", output_loading_info=True)
    lost = {key: sorted(info[key])[:3] for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
    if lost:
        raise ValueError(f"keys {lost}")
    for parameter in model.parameters():
        # A weight may lie at any place of its file; how it is aligned decides which kernel multiplies with it.
        parameter.data = parameter.data.clone()
    return model.eval()


def _compare(cls: Any, source: Any, target: Any, work: Path) -> tuple[str, str]:
    old, new = ([tokenizer.convert_tokens_to_ids(token) for token in _SHARED] for tokenizer in (source, target))
    if wrong := _differing_tensors(work, old, new, len(source)):
        return "wrong", wrong
    before = _run(_load(cls, work / "source"), old)
    if isinstance(before, str):
        return "moved", before
    after = _run(_load(cls, work / "out"), new)
    if isinstance(after, str):
        return "wrong", f"the new model does not run: {after}"
    hidden, logits = (one[0] for one in (before, after)), (before[1][:, old], after[1][:, new])
    first, second = hidden
    if first is None or second is None:
        first, second = logits
    if first.shape != second.shape or not torch.equal(first, second):
        return "wrong", f"hidden states differ by {(first - second).abs().max():.3g}"
    worst = (logits[0] - logits[1]).abs().max().item()
    if worst > 1e-3 * max(1.0, logits[0].abs().max().item()):
        return "wrong", f"logits differ by {worst:.3g}"
    return "equal", _report_of(work)


def _run(model: Any, text: list[int]) -> Any:
    """What the head was given, and the logits; or why there is nothing."""
    ids = torch.tensor([text])
    known = inspect.signature(model.forward).parameters
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "decoder_input_ids": ids, "use_cache": False}
    if not model.config.is_encoder_decoder:
        del given["decoder_input_ids"]
    seen: list[Tensor] = []
    head = model.get_output_embeddings()
    hook = None if head is None else head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        torch.manual_seed(0)
        with torch.no_grad():
            logits = model(**{key: value for key, value in given.items() if key in known}).logits
    except Exception as error:
        return f"does not run on text alone: {_line(error)}"
    finally:
        if hook is not None:
            hook.remove()
    return (seen[-1].reshape(-1, seen[-1].shape[-1]) if seen else None), logits.reshape(-1, logits.shape[-1])


def _differing_tensors(work: Path, old: list[int], new: list[int], tokens: int) -> str:
    before, after = _tensors(work / "source"), _tensors(work / "out")
    if before.keys() != after.keys():
        return f"keys: {sorted(before.keys() ^ after.keys())[:4]}"
    for key, tensor in after.items():
        dims = [i for i, (a, b) in enumerate(zip(before[key].shape, tensor.shape, strict=True)) if a != b]
        if not dims:
            if not torch.equal(before[key], tensor):
                return f"{key} is not the source's"
            continue
        if len(dims) > 1 or before[key].shape[dims[0]] < tokens:
            return f"{key}: {list(before[key].shape)} became {list(tensor.shape)}"
        rows, moved = before[key].movedim(dims[0], 0), tensor.movedim(dims[0], 0)
        if not torch.equal(rows[old], moved[new]):
            return f"rows of {key} are not the source's"
    return ""


def _tensors(folder: Path) -> dict[str, Tensor]:
    found = {}
    for file in sorted(folder.glob("model*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            found |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    return found


def _report_of(work: Path) -> str:
    """What the tool itself says of its forward pass, where it is not that all was equal."""
    checks = json.loads((work / "out" / "salt_report.json").read_text())["checks"]
    return "" if "bit-equal" in checks[-1] else checks[-1]


def _line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {' '.join(text[:2])}"[:220]


if __name__ == "__main__":
    main()
