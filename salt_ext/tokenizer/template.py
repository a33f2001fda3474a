"""What a tokenizer puts around every text by itself, read from one tokenizer and given to another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from salt_ext.vocab.rust import rust_errors

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Definition = dict[str, Any]


class Part(NamedTuple):
    """One step of a frame: a text ("A" or "B"), or the special token with that id."""

    content: int | Literal["A", "B"]
    type_id: int


@dataclass(frozen=True)
class SpecialTemplate:
    """The steps around a single text and around a pair of texts, in order."""

    single: tuple[Part, ...]
    pair: tuple[Part, ...]

    @property
    def special_ids(self) -> list[int]:
        """Ids of the special tokens that it uses, each once, in the order of their first use."""
        found = (part.content for part in (*self.single, *self.pair))
        return list(dict.fromkeys(content for content in found if isinstance(content, int)))


def read_frame(tokenizer: PreTrainedTokenizerBase) -> SpecialTemplate:
    """The frame of a tokenizer, by what it does: no matter which class or post-processor makes it."""
    return SpecialTemplate(tuple(_parts(tokenizer, "a")), tuple(_parts(tokenizer, "a", "b")))


def _parts(tokenizer: PreTrainedTokenizerBase, *texts: str) -> Iterator[Part]:
    with rust_errors(tokenizer):
        encodings: Any = tokenizer(*texts, padding=False, truncation=False).encodings
    before = None
    for number, kind, text in zip(encodings[0].ids, encodings[0].type_ids, encodings[0].sequence_ids, strict=True):
        if text is None:
            yield Part(int(number), int(kind))
        elif text != before:
            yield Part("A" if text == 0 else "B", int(kind))
        before = text


def framed_post_processor(
    definition: Definition | None, frame: SpecialTemplate, spelt: Mapping[int, tuple[str, int]]
) -> Any:
    """The definition of a post-processor that makes a frame and keeps what an old one did besides framing.

    Args:
        definition: the old post-processor's, from tokenizer.json.
        frame: the frame to make.
        spelt: for each id in the frame the new token's spelling and id.
    """
    template = {
        "type": "TemplateProcessing",
        "single": [_step(part, spelt) for part in frame.single],
        "pair": [_step(part, spelt) for part in frame.pair],
        "special_tokens": {
            token: {"id": token, "ids": [number], "tokens": [token]}
            for token, number in (spelt[old] for old in frame.special_ids)
        },
    }
    kept = list(_unframed(definition)) if definition is not None else []
    return {"type": "Sequence", "processors": [*kept, template]} if kept else template


def _step(part: Part, spelt: Mapping[int, tuple[str, int]]) -> Definition:
    if isinstance(part.content, str):
        return {"Sequence": {"id": part.content, "type_id": part.type_id}}
    return {"SpecialToken": {"id": spelt[part.content][0], "type_id": part.type_id}}


def _unframed(definition: Definition) -> Iterator[Definition]:
    """The steps that do not frame; RoBERTa's step also trims offsets, which is ByteLevel's own work."""
    match definition["type"]:
        case "Sequence":
            for step in definition["processors"]:
                yield from _unframed(step)
        case "RobertaProcessing":
            trimming = {key: definition[key] for key in ("add_prefix_space", "trim_offsets")}
            yield {"type": "ByteLevel", **trimming, "use_regex": True}
        case "ByteLevel":
            yield definition
