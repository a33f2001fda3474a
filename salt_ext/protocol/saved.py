"""A tokenizer whose saved folder is opened as it is, whatever model lies beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast
from transformers.models.auto import tokenization_auto

_CONFIG = "tokenizer_config.json"
_CODE = "salt_tokenizer.py"
_CLASS = "PlainTokenizer"
_SOURCE = f'''"""The tokenizer is what tokenizer.json says; no class of a model family may rebuild it."""

from transformers import PreTrainedTokenizerFast


class {_CLASS}(PreTrainedTokenizerFast):
    """Opened only under trust_remote_code=True; without it, transformers opens the same tokenizer by itself."""
'''
# Facts of the process that saved it.
_OF_THE_PROCESS = ("backend", "is_local", "local_files_only")


class SavedTokenizer(PreTrainedTokenizerFast):
    """Saved under the generic class, which takes tokenizer.json as it is.

    transformers 5 opens a tokenizer by the class that it knows for the model's type where it distrusts the one in
    tokenizer_config.json (Qwen2 is such a type): that class would build its own pre-tokenizer around our vocabulary.
    Only an `auto_map` turns that off. The class which it names is asked for under trust_remote_code=True, so it lies in
    the folder.

    Attributes:
        model_type: of the model that will lie beside the tokenizer; None if it does not matter.
    """

    model_type: str | None = None

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """Save as transformers does, then correct the class and keep the flags of the special tokens."""
        files = tuple(super().save_pretrained(save_directory, *args, **kwargs) or ())
        folder = Path(save_directory)
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        config = {key: value for key, value in config.items() if key not in _OF_THE_PROCESS}
        # Both transformers 4 and 5 know this name for the class and the next one for the list.
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        if config.pop("extra_special_tokens", None):
            config["additional_special_tokens"] = [self._flags(token) for token in self.extra_special_tokens]
        if self.model_type is not None and _class_is_imposed(self.model_type):
            config["auto_map"] = {"AutoTokenizer": [None, f"{Path(_CODE).stem}.{_CLASS}"]}
            (folder / _CODE).write_text(_SOURCE, encoding="utf-8")
            files = (*files, str(folder / _CODE))
        text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (folder / _CONFIG).write_text(text, encoding="utf-8")
        return files

    def _flags(self, token: str | AddedToken) -> dict[str, Any]:
        added = {known.content: known for known in self.added_tokens_decoder.values()}[str(token)]
        flags = ("lstrip", "rstrip", "normalized", "single_word", "special")
        return {"__type": "AddedToken", "content": added.content, **{flag: getattr(added, flag) for flag in flags}}


def _class_is_imposed(model_type: str) -> bool:
    """Whether AutoTokenizer opens every tokenizer beside such a model by the family's class."""
    distrusted = getattr(tokenization_auto, "MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS", ())
    known = tokenization_auto.TOKENIZER_MAPPING_NAMES.get(model_type)
    return model_type in distrusted and known not in (None, "TokenizersBackend", "PreTrainedTokenizerFast")
