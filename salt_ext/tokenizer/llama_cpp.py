"""What llama.cpp's converter cannot know of a tokenizer by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from salt_ext.tokenizer.sentencepiece_model import is_sentencepiece_bpe, sentencepiece_model
from salt_ext.tokenizer.spacing import steps_of, writes_leading_space
from salt_ext.vocab.families import backend_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# How llama.cpp calls the rules by which byte-level tokenizers cut a text before they merge; None is ByteLevel's own.
_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_OTHERS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_RULES = {
    None: "gpt-2",
    _LETTERS + r"\p{N}{1,3}" + _OTHERS: "llama-bpe",
    _LETTERS + r"\p{N}" + _OTHERS: "qwen2",
}


def llama_cpp_warnings(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """A sentence where llama.cpp reads a tokenizer as it is only if it is told something; else none.

    Its converter recognises a byte-level tokenizer by the ids of a sample text, which are those of one vocabulary
    within one frame, so it recognises hardly any new one. It takes BPE with byte fallback for SentencePiece. All other
    kinds it refuses by itself.
    """
    backend = backend_of(tokenizer, "the new model")
    if is_sentencepiece_bpe(backend):
        if sentencepiece_model(backend, bos=None, eos=None) is not None:
            return []
        return ["llama.cpp cuts texts as SentencePiece does, which is not how this tokenizer cuts them"]
    steps = steps_of(backend.pre_tokenizer)
    if not any(step["type"] == "ByteLevel" for step in steps):
        return []
    rules = [step["pattern"].get("Regex") for step in steps if step["type"] == "Split"]
    own = any(step["type"] == "ByteLevel" and step["use_regex"] for step in steps)
    rule = _RULES.get(rules[0] if rules else None) if len(rules) + own == 1 else None
    told = "none of its rules is known to fit" if rule is None else f"the rule to name in it is {rule!r}"
    space = ", and texts have to begin with a space of their own" if writes_leading_space(backend) else ""
    return [f"llama.cpp's converter may not recognise this byte-level tokenizer: {told}{space}"]
