"""The source's protocol for another vocabulary: its special tokens, frame, chat markers and configured token ids."""

from __future__ import annotations

from salt_ext.tokenizer.ids import TranslatedConfigs, configured_ids, counted_pad, token_translation, translated_configs
from salt_ext.tokenizer.llama_cpp import llama_cpp_warnings
from salt_ext.tokenizer.target import SourceFacts, Target, build_target
from salt_ext.tokenizer.token_map import load_token_map

__all__ = [
    "SourceFacts",
    "Target",
    "TranslatedConfigs",
    "build_target",
    "configured_ids",
    "counted_pad",
    "llama_cpp_warnings",
    "load_token_map",
    "token_translation",
    "translated_configs",
]
