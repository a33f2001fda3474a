"""Whether a conversation, written by the chat template, survives the new tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Some templates refuse a system's turn, some want one, and base models' translate single requests.
_TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is 2 + 2?\nAnswer."},
    {"role": "assistant", "content": "It is 4."},
    {"role": "user", "content": "thanks"},
]
_CONVERSATIONS = (_TURNS, _TURNS[1:], _TURNS[1:2])
_SHOWN = 300


def chat_warnings(source: PreTrainedTokenizerBase, target: PreTrainedTokenizerBase) -> list[str]:
    """A sentence where a chat does not come back from the target's ids as it does from the source's; else none.

    Args:
        source: has the chat template; a tokenizer without one is never warned of.
        target: the new tokenizer.
    """
    text = _written(source)
    if text is None:
        return []
    wanted, found = (_read_back(tokenizer, text) for tokenizer in (source, target))
    if wanted == found:
        return []
    return [
        "a chat does not come back from the new tokenizer as it was written: "
        f"{_short(wanted)} is read as {_short(found)}"
    ]


def _written(source: PreTrainedTokenizerBase) -> str | None:
    """The first conversation that the template takes."""
    if not source.chat_template:
        return None
    for turns in _CONVERSATIONS:
        try:
            return str(source.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
        except Exception:  # a template raises what it likes
            continue
    return None


def _read_back(tokenizer: Any, text: str) -> str:
    ids = tokenizer(text, add_special_tokens=False, truncation=False, padding=False)["input_ids"]
    return str(tokenizer.decode(ids))


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
