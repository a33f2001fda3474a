"""Real tokenizers: conversations keep their structure, texts come back as from the target's own tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from salt_ext.tokenizer import build_target

CHAT = [
    {"role": "system", "content": "Du bist ein hilfreicher Assistent."},
    {"role": "user", "content": "Wie hoch ist der Kölner Dom?"},
    {"role": "assistant", "content": "Der Kölner Dom ist 157 Meter hoch."},
    {"role": "user", "content": "Und wie viele Stufen hat er?"},
]
TOOL = {
    "type": "function",
    "function": {
        "name": "stairs",
        "description": "Counts the stairs of a tower.",
        "parameters": {"type": "object", "properties": {"tower": {"type": "string"}}},
    },
}
PAIRS = [
    ("qwen2.5", "focus-de-bpe-50k"),
    ("qwen2.5", "focus-de-xlmr-unigram-30k"),
    ("qwen2.5", "xlm-roberta"),
    ("gemma2", "focus-de-bpe-50k"),
    ("mistral-v1", "focus-de-xlmr-unigram-30k"),
    ("gpt2", "minilm"),
    ("qwen2.5", "mistral-v1"),
    ("mistral-v1", "gemma2"),
]


@pytest.mark.parametrize("name", ["focus-de-bpe-50k", "xlm-roberta"])
def test_a_conversation_keeps_its_structure(real, tmp_path: Path, name) -> None:
    source = real("qwen2.5")
    if source.chat_template is None:
        pytest.skip("this copy of the tokenizer has no chat template")
    built = build_target(source, real(name), model_type="qwen2")
    built.tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}', encoding="utf-8")
    opened = AutoTokenizer.from_pretrained(tmp_path)
    markers = {old: new for new, old in built.pairs.items()}
    for tools in (None, [TOOL]):
        old, new = (
            one.apply_chat_template(CHAT, tools=tools, add_generation_prompt=True, tokenize=False)
            for one in (source, opened)
        )
        assert old == new
        before, after = (one(old, add_special_tokens=False)["input_ids"] for one in (source, opened))
        assert [markers[n] for n in before if n in markers] == [n for n in after if n in built.pairs]
        assert sum(number in markers for number in before) >= 2 * len(CHAT) + 1
        for one, other in zip(_between(before, markers), _between(after, built.pairs), strict=True):
            # What stands before a word's beginning is the tokenizer's own affair; XLM-R has no line breaks.
            wanted = source.decode(one) if name != "xlm-roberta" else " ".join(source.decode(one).split())
            assert opened.decode(other).strip() == wanted.strip()
    assert opened.eos_token == source.eos_token == "<|im_end|>"


def _between(numbers: list[int], markers: dict[int, int]) -> list[list[int]]:
    found: list[list[int]] = [[]]
    for number in numbers:
        if number in markers:
            found.append([])
        else:
            found[-1].append(number)
    return found


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_texts_come_back_as_from_the_targets_own(real, real_data: Path, tmp_path: Path, source, target) -> None:
    built = build_target(real(source), real(target), model_type="llama")
    built.tokenizer.save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    lines = (real_data / "text/de/docs.valid.txt").read_text(encoding="utf-8").splitlines()[:2000]
    for texts in (lines, ["  a\n\tb ", "z. B. »Köln« , ja !", "emoji 😀"]):
        own, new = (
            one(texts, add_special_tokens=False, truncation=False, padding=False)["input_ids"]
            for one in (real(target), opened)
        )
        assert own == new
        decoded = [[one.decode(ids, skip_special_tokens=True) for ids in own] for one in (real(target), opened)]
        assert decoded[0] == decoded[1]
