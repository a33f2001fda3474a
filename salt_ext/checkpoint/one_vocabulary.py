"""Models that read one vocabulary and write another cannot get one tokenizer; it is said before anything else fails."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from salt_ext.errors import InputError

_TWO_TOKENIZERS = ("source.spm", "target.spm")
_WAY_OUT = "a translation model whose languages share one vocabulary (M2M100, NLLB, mBART, T5) can be moved"


def check_one_vocabulary(folder: Path, config: Mapping[str, Any]) -> None:
    """Looks for a second vocabulary of a source.

    Args:
        folder: the model's folder.
        config: its config.json.

    Raises:
        InputError: FSMT's and unshared Marian's two vocabularies, an encoder-decoder of two unlike models, or Marian's
            two SentencePiece models without a tokenizer that does the work of both.
    """
    kind = f"{folder}: a model of type {config['model_type']!r}"
    reads, writes = _sizes(config)
    unshared = config.get("share_encoder_decoder_embeddings") is False
    if unshared or (reads is not None and writes is not None and (reads != writes or "src_vocab_size" in config)):
        raise InputError(
            f"{kind} has two vocabularies, one that it reads ({reads} tokens) and one that it writes ({writes}), and "
            f"one new tokenizer cannot take the place of both; {_WAY_OUT}"
        )
    if all((folder / name).exists() for name in _TWO_TOKENIZERS) and not (folder / "tokenizer.json").exists():
        raise InputError(
            f"{kind} cuts the text that it reads and the text that it writes with two tokenizers "
            f"({', '.join(_TWO_TOKENIZERS)}), and one new tokenizer cannot take the place of both; {_WAY_OUT}"
        )


def _sizes(config: Mapping[str, Any]) -> tuple[Any, Any]:
    """How many tokens the model reads and writes, None for what is not stated."""
    if config["model_type"] == "fsmt" or "tgt_vocab_size" in config:
        return config.get("src_vocab_size"), config.get("tgt_vocab_size")
    encoder, decoder = config.get("encoder"), config.get("decoder")
    if isinstance(encoder, dict) and isinstance(decoder, dict):
        return encoder.get("vocab_size"), decoder.get("vocab_size")
    return config.get("vocab_size"), config.get("decoder_vocab_size")
