"""Which files of the source belong beside the new weights."""

from __future__ import annotations

from pathlib import Path

from salt_ext.errors import InputError

# Written anew.
_OWN = {
    "config.json",
    "generation_config.json",
    "model.safetensors.index.json",
    "salt_plan.safetensors",
    "salt_report.json",
}
# The old tokenizer, in every form that transformers and its relatives read.
_TOKENIZER = {
    "added_tokens.json",
    "bpe.codes",
    "chat_template.jinja",
    "chat_template.json",
    "dict.txt",
    "encoder.json",
    "merges.txt",
    "qwen.tiktoken",
    "sentencepiece.bpe.model",
    "sentencepiece.model",
    "source.spm",
    "special_tokens_map.json",
    "spiece.model",
    "target.spm",
    "tekken.json",
    "tiktoken.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer.model.v3",
    "tokenizer_config.json",
    "vocab.bpe",
    "vocab.json",
    "vocab.txt",
}
# The same weights once more, in another format or for another tool; quantised copies of the old tables.
_WEIGHTS = {
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".h5",
    ".msgpack",
    ".ot",
    ".onnx",
    ".gguf",
    ".tflite",
    ".npz",
}


def companion_files(folder: Path) -> list[Path]:
    """The files of a model folder that are copied as they are: processors, licences, notices, model code.

    Left out are what is written anew (weights, configurations, tokenizer, plan, report), weights in other formats,
    the README (it describes the source; the report says what the new model was made from), hidden files and
    sub-folders (original weights, ONNX exports, version control).

    Args:
        folder: the source's folder.

    Returns:
        Files in order of name.

    Raises:
        InputError: the folder cannot be listed.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from error
    return [file for file in files if not _is_replaced(file.name)]


def _is_replaced(name: str) -> bool:
    return (
        name in _OWN
        or name in _TOKENIZER
        or name.startswith(".")
        or name.endswith(".index.json")
        or name.lower().startswith("readme")
        or Path(name).suffix.lower() in _WEIGHTS
    )
