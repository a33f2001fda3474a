"""A text as windows of tokens to train on and a stream to measure on, split by document, kept for the next run.

A document is measured on when its hash says so (one in fifty), or when it is of an evaluation text of its own: so the
evaluation of a text is always the same, whatever the seed, the budget or the order of the files, and equal documents
are on the same side. The windows are cut from one stream, each document behind the tokenizer's bos (else eos) token.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from salt_ext.adaptation.documents import Source, open_sources
from salt_ext.display.listing import listed
from salt_ext.errors import InputError, OutputError, brief
from salt_ext.evaluation.token_stream import TokenStream, document_prefix, token_stream
from salt_ext.vocab.rust import rust_errors

_HELD_OUT = 1 / 50
# A line that is shorter stands in many texts by chance.
_SHORTEST_LINE = 20
_SHOWN = 60
_BATCH = 256
_FORMAT = 1


@dataclass(frozen=True)
class Corpus:
    """One language's text.

    Attributes:
        windows: a data set with `input_ids`, `context` numbers a row; None where nothing is trained on it.
        held_out: to measure on.
        key: of the text and the tokenizer, by which it is kept.
        facts: for the report.
    """

    windows: Any
    held_out: TokenStream
    key: str
    facts: dict[str, Any]


def read_corpus(
    text: Sequence[str | Path],
    eval_text: Sequence[str | Path],
    tokenizer: PreTrainedTokenizerBase,
    *,
    what: str,
    windows: int,
    context: int,
    eval_bytes: int,
    drop_overlap: bool,
    cache: Path,
) -> Corpus:
    """Reads, splits, encodes and packs a text, or finds it in the cache.

    Args:
        text: to train on, and to measure on where there is no `eval_text`.
        eval_text: to measure on.
        tokenizer: the model's.
        what: what the user calls the text.
        windows: read no more than so many from each text; 0 for none.
        context: tokens of a window.
        eval_bytes: measure on no more than about so much.
        drop_overlap: leave out documents that hold a line of the evaluation; else they are refused.
        cache: the folder of what is kept.

    Raises:
        InputError: a text cannot be read or has no documents, the training text holds a line of the evaluation text, or
            nothing is left to measure on.
        OutputError: the cache cannot be written.
    """
    sources = open_sources(text, what=what)
    evaluation = open_sources(eval_text, what=f"eval_{what}")
    key = _key(tokenizer, sources, evaluation, windows, context, eval_bytes, drop_overlap)
    folder = cache / key
    if not (folder / "facts.json").is_file():
        splitter = _Splitter(sources, evaluation, eval_bytes=eval_bytes, drop_overlap=drop_overlap, what=what)
        _write(folder, sources, splitter, tokenizer, windows=windows, context=context)
    return _load(folder, tokenizer, key)


class _Splitter:
    """Tells the documents that are trained on from those that are measured on.

    Every text gives an equal part of what is measured on, from its front.
    """

    def __init__(
        self, sources: Sequence[Source], evaluation: Sequence[Source], *, eval_bytes: int, drop_overlap: bool, what: str
    ) -> None:
        self._drop, self.what = drop_overlap, what
        self._quota = max(1, eval_bytes // len(evaluation or sources))
        self.given = bool(evaluation)
        self.held_out: list[str] = []
        self.read = self.left_out = self._taken = 0
        self._lines: set[str] = set()
        for source in evaluation:
            self._taken = 0
            for document in source.documents():
                self._lines.update(_lines(document))
                self._hold_out(document)

    @property
    def full(self) -> bool:
        """Whether the text that is read gives no more to measure on."""
        return self.given or self._taken >= self._quota

    def training(self, source: Source) -> Iterator[str]:
        """The documents of a text that are trained on; those that are measured on are put aside on the way."""
        self._taken = 0
        for document in source.documents():
            self.read += 1
            if self.given:
                shared = next((line for line in _lines(document) if line in self._lines), None)
                if shared is None:
                    yield document
                elif self._drop:
                    self.left_out += 1
                else:
                    raise InputError(
                        f"{self.what} {source.name} holds a line of the evaluation text, {shared[:_SHOWN]!r}: what is "
                        f"measured would have been learnt by heart; give another text, or leave such documents out of "
                        f"the training with drop_overlap"
                    )
            elif _is_held_out(document):
                self.left_out += 1
                self._hold_out(document)
            else:
                yield document

    def _hold_out(self, document: str) -> None:
        if self._taken < self._quota:
            self.held_out.append(document)
            self._taken += len(document.encode())


def _is_held_out(document: str) -> bool:
    digest = hashlib.sha256(document.strip().encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") < _HELD_OUT * 2**64


def _lines(document: str) -> list[str]:
    stripped = (line.strip() for line in document.splitlines())
    return [line for line in stripped if len(line) >= _SHORTEST_LINE]


def _write(
    folder: Path,
    sources: Sequence[Source],
    splitter: _Splitter,
    tokenizer: PreTrainedTokenizerBase,
    *,
    windows: int,
    context: int,
) -> None:
    """Makes an entry of the cache, which appears complete or not at all."""
    import datasets

    draft = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(draft, ignore_errors=True)
    begun, made = time.perf_counter(), 0

    def rows() -> Iterator[dict[str, list[int]]]:
        nonlocal made
        for source in sources:
            for window in _windows(splitter, source, tokenizer, most=windows, context=context):
                made += 1
                yield window

    try:
        draft.mkdir(parents=True)
        features = datasets.Features({"input_ids": datasets.List(datasets.Value("int32"), length=context)})
        try:
            packed = datasets.Dataset.from_generator(
                rows, features=features, cache_dir=str(draft / "made"), fingerprint=folder.name[:32]
            )
            packed.save_to_disk(str(draft / "windows"))
        except ValueError:
            if made:  # a data set without a row is none
                raise
        if sources and not splitter.read and not splitter.held_out:
            raise InputError(f"{splitter.what} {listed([source.name for source in sources])} holds no text")
        shutil.rmtree(draft / "made", ignore_errors=True)
        facts = {
            "texts": [source.name for source in sources],
            "documents": splitter.read,
            "documents_left_out": splitter.left_out,
            "windows": made,
            "evaluation": "given" if splitter.given else "one document in fifty, by its hash",
            "seconds": round(time.perf_counter() - begun, 2),
        }
        (draft / "held_out.json").write_text(json.dumps(splitter.held_out), encoding="utf-8")
        (draft / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    except Exception as error:  # `datasets` wraps what its generator raises
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, InputError | OSError):
            cause = cause.__cause__
        if isinstance(cause, InputError):
            raise cause from None
        if cause is None:
            raise
        raise OutputError(f"the texts' tokens cannot be kept in {folder.parent}: {brief(cause)}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _windows(
    splitter: _Splitter, source: Source, tokenizer: PreTrainedTokenizerBase, *, most: int, context: int
) -> Iterator[dict[str, list[int]]]:
    """Packs the documents of a text; reading ends when there are enough windows, and enough to measure on."""
    prefix = document_prefix(tokenizer)
    documents = splitter.training(source)
    pending: list[int] = []
    made = 0
    while (made < most or not splitter.full) and (batch := list(islice(documents, _BATCH))):
        if made == most:
            continue
        with rust_errors(tokenizer):
            encoded = tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]
        for tokens in encoded:
            pending += prefix + tokens
        whole = min(len(pending) // context, most - made)
        for begin in range(0, whole * context, context):
            yield {"input_ids": pending[begin : begin + context]}
        made += whole
        del pending[: whole * context]


def _load(folder: Path, tokenizer: PreTrainedTokenizerBase, key: str) -> Corpus:
    import datasets

    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    held_out = json.loads((folder / "held_out.json").read_text(encoding="utf-8"))
    if not held_out:
        names = ", ".join(facts["texts"])
        raise InputError(
            f"of the {facts['documents']} documents of {names} none is left out to measure on: give an evaluation text"
        )
    stream = token_stream(tokenizer, held_out)
    if not bool(stream.counted.any()):
        raise InputError(f"the tokenizer makes no token of {listed(facts['texts'])}: there is nothing to measure on")
    facts |= {"eval_documents": len(held_out), "eval_bytes": stream.bytes, "eval_tokens": int(stream.counted.sum())}
    facts["altered"] = stream.altered
    windows = datasets.load_from_disk(str(folder / "windows")) if facts["windows"] else None
    return Corpus(windows, stream, key, facts)


def _key(tokenizer: PreTrainedTokenizerBase, *parts: Any) -> str:
    """Of tokenizer and text: other tokens, or another split, have another one."""
    digest = hashlib.sha256(str(_FORMAT).encode())
    backend: Any = tokenizer
    digest.update(backend.backend_tokenizer.to_str().encode())
    digest.update(repr((tokenizer.bos_token_id, tokenizer.eos_token_id)).encode())
    for part in parts:
        known = [source.key for source in part] if isinstance(part, list) else part
        digest.update(repr(known).encode())
    return digest.hexdigest()
