"""What the files of a model folder are, by their names."""

from __future__ import annotations

import re
from pathlib import Path

from salt_ext.checkpoint.layout import INDEX_FILE, PICKLED_FILE, PICKLED_INDEX_FILE, SINGLE_FILE

PLAN_FILE = "salt_plan.safetensors"
REPORT_FILE = "salt_report.json"
CARD_FILE = "README.md"
ADAPTATION_FILE = "salt_adaptation.json"
CURVE_FILE = "salt_curve.jsonl"
CURVE_PICTURE = "salt_curve.png"
# What is written anew, whatever the source has under these names.
OWN_FILES = frozenset(
    {
        "config.json",
        "generation_config.json",
        ADAPTATION_FILE,
        CURVE_FILE,
        CURVE_PICTURE,
        INDEX_FILE,
        PLAN_FILE,
        REPORT_FILE,
        "salt_tokenizer.py",
    }
)
# Tokenizers, in the forms that transformers and its relatives read and write.
_TOKENIZER = frozenset(
    {
        "added_tokens.json",
        "bpe.codes",
        "chat_template.jinja",
        "chat_template.json",
        "encoder.json",
        "merges.txt",
        "sentencepiece.bpe.model",
        "sentencepiece.model",
        "source.spm",
        "special_tokens_map.json",
        "spiece.model",
        "target.spm",
        "tekken.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.bpe",
        "vocab.json",
        "vocab.txt",
    }
)
_TOKENIZER_PATTERN = re.compile(r"tokenizer\.model(\.v\d+\w*)?|tiktoken\.model|[\w.-]+\.tiktoken")
# Processors of images, sound and video, and what says how the copied weights were quantised.
_NEEDED = frozenset(
    {
        "feature_extractor_config.json",
        "hf_quant_config.json",
        "image_processor_config.json",
        "preprocessor_config.json",
        "processor_config.json",
        "quant_config.json",
        "quantize_config.json",
        "video_preprocessor_config.json",
    }
)
_LEGAL = re.compile(
    r"(.*[-_. ])?(licen[cs]es?|notices?|copying|copyright|terms|patents|authors|citation|(acceptable[-_ ]?)?use[-_ ]?"
    r"policy)([-_. ].*)?",
    re.IGNORECASE,
)
_PROSE = {"", ".bib", ".cff", ".html", ".md", ".pdf", ".rst", ".rtf", ".txt"}
_WEIGHTS = re.compile(r"(model|pytorch_model)([-_.][\w.-]*)?\.(safetensors|bin)|tf_model\.h5|flax_model\.msgpack")


def is_needed(name: str) -> bool:
    """Whether a new model needs this file of its source as it is: processors, licences, notices."""
    return name in _NEEDED or (_LEGAL.fullmatch(name) is not None and Path(name).suffix.lower() in _PROSE)


def is_tokenizer(name: str) -> bool:
    """Whether a file is (a part of) a tokenizer by its name."""
    return name in _TOKENIZER or _TOKENIZER_PATTERN.fullmatch(name) is not None


def is_readme(name: str) -> bool:
    """Whether a file describes the folder."""
    return name.lower().startswith("readme") and Path(name).suffix.lower() in _PROSE


def kept_readme(name: str) -> str:
    """What a description of the source is called beside the new model's own: README.source.md."""
    return f"{Path(name).stem}.source{Path(name).suffix}"


def is_weights(name: str) -> bool:
    """Whether a file is weights, or an index of them, by a name that transformers gives."""
    return name in (SINGLE_FILE, PICKLED_FILE, PICKLED_INDEX_FILE) or _WEIGHTS.fullmatch(name) is not None
