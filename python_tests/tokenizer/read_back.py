"""read_back.py FOLDER...: how the transformers of this Python opens and cuts; texts on the standard input as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def read(tokenizer: Any, texts: list[str]) -> dict[str, Any]:
    ids = [tokenizer(text)["input_ids"] for text in texts]
    return {
        "ids": ids,
        "bare": [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts],
        "pair": tokenizer("eins", "zwei")["input_ids"],
        "written": [tokenizer.decode(one) for one in ids],
        "skipped": [tokenizer.decode(one, skip_special_tokens=True) for one in ids],
        "roles": {role: str(token) for role, token in tokenizer.special_tokens_map.items() if role.endswith("_token")},
        "padding": (tokenizer.padding_side, tokenizer.pad_token_id, tokenizer.model_max_length),
        "template": tokenizer.chat_template,
    }


def main() -> None:
    from transformers import AutoTokenizer

    texts = json.load(sys.stdin)
    found = []
    for folder in sys.argv[1:]:
        opened = AutoTokenizer.from_pretrained(folder)
        again = Path(folder, "again")
        opened.save_pretrained(again)
        again.joinpath("config.json").write_bytes(Path(folder, "config.json").read_bytes())
        found.append([read(opened, texts), read(AutoTokenizer.from_pretrained(again), texts)])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
