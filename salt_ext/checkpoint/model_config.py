"""A model's configuration as transformers reads it, without what would have code fetched from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import transformers

# With the package `kernels` installed, a name of the form ORG/REPOSITORY here has a compiled kernel downloaded and run
# when a model is built, no code being trusted. Which kernel computes makes no difference to what is read here.
_CHOICES_OF_CODE = re.compile(r"_?(attn|experts)_implementation(_internal)?|_?use_kernels|_?kernel_config")


def model_config(folder: Path, *, trust_remote_code: bool) -> transformers.PretrainedConfig:
    """Reads config.json of a folder; choices of kernels are left to transformers' defaults.

    Raises:
        Exception: of any kind; configurations come from anywhere.
    """
    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    _forget_choices(config)
    return cast("transformers.PretrainedConfig", config)


def _forget_choices(part: transformers.PretrainedConfig) -> None:
    for key, value in list(vars(part).items()):
        if _CHOICES_OF_CODE.fullmatch(key):
            setattr(part, key, None)
        elif isinstance(value, transformers.PretrainedConfig):
            _forget_choices(value)
