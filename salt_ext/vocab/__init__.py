"""Vocabularies: what a token is, whatever its tokenizer's spelling, and which tokens two vocabularies share."""

from __future__ import annotations

from salt_ext.vocab.anchors import Anchors, Level, match_vocabularies
from salt_ext.vocab.coverage import anchor_coverage, bytes_per_token, encode_each, encode_lines
from salt_ext.vocab.forms import Form
from salt_ext.vocab.load import load_tokenizer
from salt_ext.vocab.vocabulary import Vocabulary

__all__ = [
    "Anchors",
    "Form",
    "Level",
    "Vocabulary",
    "anchor_coverage",
    "bytes_per_token",
    "encode_each",
    "encode_lines",
    "load_tokenizer",
    "match_vocabularies",
]
