"""Other versions of transformers open an output, cut texts as ours does, and save it again.

SALT_OTHER_PYTHONS names the Python of an environment for each, separated by colons.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from salt_ext.tokenizer import build_target

PYTHONS = [python for python in os.environ.get("SALT_OTHER_PYTHONS", "").split(":") if python]
pytestmark = pytest.mark.skipif(not PYTHONS, reason="SALT_OTHER_PYTHONS names no Python with another transformers")
HERE = Path(__file__).parent
SOURCES = {"en-llama": "llama", "qwen2.5": "qwen2"}
TARGETS = ["de-gpt", "focus-de-bpe-50k", "focus-de-xlmr-unigram-30k", "mistral-v1", "gemma2", "qwen2.5", "minilm"]
TEXTS = [
    *("Hallo Welt", "  zwei  ", " vorn", "a  b   c", "\n", "Zeile\n\nZeile\r\n", "\tTab\tTab", "", " ", "x" * 50),
    *(
        "😀👍🏽 und 👩\u200d👩\u200d👧",
        "Tiếng Việt: đường phố",
        "A\u0308rger Ärger ﬁ ①",
        "\u00a0nbsp\u200bzw",
        "日本語",
    ),
    *("<|im_start|>user\nHallo<|im_end|>\n", "<s>[INST] x [/INST]</s>", "<unk> <pad> <mask> [MASK]", "<0x0A> Ġ ▁▁ ▁a"),
    *("1234567 3.14", "don't I'll", "def f(x):\n    return x"),
]


def read(tokenizer: Any) -> Any:
    spec = importlib.util.spec_from_file_location("read_back", HERE / "read_back.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return json.loads(json.dumps(module.read(tokenizer, TEXTS)))


def compare(built: dict[str, tuple[Any, str]], folder: Path) -> None:
    for name, (tokenizer, model_type) in built.items():
        tokenizer.save_pretrained(folder / name)
        (folder / name / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
    wanted = {name: read(tokenizer) for name, (tokenizer, _) in built.items()}
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    for python in PYTHONS:
        command = [python, str(HERE / "read_back.py"), *(str(folder / name) for name in built)]
        ran = subprocess.run(command, input=json.dumps(TEXTS), capture_output=True, text=True, env=environment)
        assert ran.returncode == 0, ran.stderr
        for (name, one), found in zip(wanted.items(), json.loads(ran.stdout), strict=True):
            assert found == [one, one], (python, name)


def test_small_ones(chat_source, llama_source, gpt2_source, make_target, tmp_path: Path) -> None:
    sources = {"chat": chat_source, "llama": llama_source, "gpt2": gpt2_source}
    targets = ("roberta", "unigram", "wordpiece", "metaspace")
    compare(
        {
            f"{name}-{target}": (build_target(source, make_target(target), model_type=kind).tokenizer, kind)
            for name, source in sources.items()
            for target in targets
            for kind in ("qwen2" if name == "chat" else "llama",)
        },
        tmp_path,
    )


@pytest.mark.parametrize("source", SOURCES)
def test_real_ones(real, real_data: Path, tmp_path: Path, source) -> None:
    models = {"en-llama": real_data / "models" / "en-llama", "de-gpt": real_data / "models" / "de-gpt"}
    kind = SOURCES[source]
    built = {
        name: (build_target(real(models.get(source, source)), real(models.get(name, name)), model_type=kind), kind)
        for name in TARGETS
        if name != source
    }
    for name, (target, _) in built.items():
        donor = real(models.get(name, name))
        plain = [text for text in TEXTS if "<" not in text]
        for text in plain:
            own = donor(text, add_special_tokens=False, truncation=False, padding=False)["input_ids"]
            assert target.tokenizer(text, add_special_tokens=False)["input_ids"] == own, (name, text)
    compare({name: (target.tokenizer, kind) for name, (target, kind) in built.items()}, tmp_path)
