"""convert.py LLAMA_CPP MODEL FILE [RULE]: the vocabulary as GGUF; RULE is what a user tells the converter to take."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

llama_cpp, model, file, *rule = sys.argv[1:]
sys.path[:0] = [llama_cpp, str(Path(llama_cpp, "gguf-py"))]
if rule:
    from conversion.base import TextModel

    TextModel.get_vocab_base_pre = lambda self, tokenizer: rule[0]
sys.argv = ["convert_hf_to_gguf.py", model, "--outfile", file, "--vocab-only"]
runpy.run_path(str(Path(llama_cpp, "convert_hf_to_gguf.py")), run_name="__main__")
