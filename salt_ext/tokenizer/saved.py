"""A tokenizer whose saved folder is opened as it is, whatever model lies beside it and whichever reader opens it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast
from transformers.models.auto import tokenization_auto

from salt_ext.tokenizer.sentencepiece_model import sentencepiece_model
from salt_ext.tokenizer.spacing import writes_leading_space
from salt_ext.tokenizer.template import read_frame

_CONFIG = "tokenizer_config.json"
_MODEL = "tokenizer.model"
_CODE = "salt_tokenizer.py"
_CLASS = "PreTrainedTokenizerFast"
_SOURCE = f'''"""The tokenizer is what tokenizer.json says; no class of a model family may rebuild it."""

import transformers


class {_CLASS}(transformers.{_CLASS}):
    """Opened only under trust_remote_code=True; without it, transformers opens the same tokenizer by itself."""
'''
# Facts of the process that saved it.
_OF_THE_PROCESS = ("backend", "is_local", "local_files_only")
_FLAGS = ("lstrip", "normalized", "rstrip", "single_word", "special")


class SavedTokenizer(PreTrainedTokenizerFast):
    """Saved under the generic class, which takes tokenizer.json as it is.

    transformers 5 opens a tokenizer by the class that it knows for the model's type where it distrusts the one in
    tokenizer_config.json (Qwen2 is such a type): that class would build its own pre-tokenizer around our vocabulary.
    Only an `auto_map` turns that off. The class which it names is asked for under trust_remote_code=True, so it lies in
    the folder. transformers copies it along where a tokenizer that was opened so is saved, and writes down its name,
    which must therefore be one that is known without it. Where the tokenizer was opened without it, nothing copies it:
    such a folder opens without trust_remote_code.

    Older readers want more than tokenizer.json. transformers 4 sets the pre-tokenizer's `add_prefix_space` to what
    tokenizer_config.json says, False if it says nothing; converters take from there whether a text is framed, and which
    tokens were added; llama.cpp's takes the scores of SentencePiece pieces from tokenizer.model only.

    Attributes:
        model_type: of the model that will lie beside the tokenizer; None if it does not matter.
    """

    model_type: str | None = None

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """Save as transformers does, then correct the class, and write what older readers look for."""
        files = list(super().save_pretrained(save_directory, *args, **kwargs) or ())
        folder = Path(save_directory)
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        config = {key: value for key, value in config.items() if key not in _OF_THE_PROCESS} | self._for_older_readers()
        # Both transformers 4 and 5 know this name for the class and the next one for the list.
        config["tokenizer_class"] = _CLASS
        known = {token.content: token for token in self.added_tokens_decoder.values()}
        if config.pop("extra_special_tokens", None):
            named = [known[str(token)] for token in self.extra_special_tokens]
            config["additional_special_tokens"] = [{"__type": "AddedToken", **_flags(token)} for token in named]
        if self.model_type is not None and _class_is_imposed(self.model_type):
            config["auto_map"] = {"AutoTokenizer": [None, f"{Path(_CODE).stem}.{_CLASS}"]}
            files.append(_write(folder / _CODE, _SOURCE.encode()))
        content = sentencepiece_model(self.backend_tokenizer, bos=self.bos_token, eos=self.eos_token)
        if content is not None:
            files.append(_write(folder / _MODEL, content))
        _write(folder / _CONFIG, (json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode())
        return tuple(files)

    def _for_older_readers(self) -> dict[str, Any]:
        """What tokenizer.json says already, in the keys of before."""
        frame = [part.content for part in read_frame(self).single]
        # Readers that look for these two take cls for bos and sep for eos where those are lacking.
        begins = self.cls_token_id if self.bos_token_id is None else self.bos_token_id
        ends = self.sep_token_id if self.eos_token_id is None else self.eos_token_id
        return {
            "add_prefix_space": writes_leading_space(self.backend_tokenizer),
            "add_bos_token": begins is not None and frame[:1] == [begins],
            "add_eos_token": ends is not None and frame[-1:] == [ends],
            "added_tokens_decoder": {
                str(number): _flags(token) for number, token in sorted(self.added_tokens_decoder.items())
            },
        }


def _flags(token: AddedToken) -> dict[str, Any]:
    return {"content": token.content, **{flag: getattr(token, flag) for flag in _FLAGS}}


def _write(file: Path, content: bytes) -> str:
    file.write_bytes(content)
    return str(file)


def _class_is_imposed(model_type: str) -> bool:
    """Whether AutoTokenizer opens every tokenizer beside such a model by the family's class."""
    distrusted = getattr(tokenization_auto, "MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS", ())
    known = tokenization_auto.TOKENIZER_MAPPING_NAMES.get(model_type)
    return model_type in distrusted and known not in (None, "TokenizersBackend", _CLASS)
