"""Opening tokenizers: local folders, hub names, and one sentence for what cannot be opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from salt_ext.errors import InputError
from salt_ext.vocab import load_tokenizer


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    trained["byte-level"].tokenizer.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def test_local_folder(folder, trained, sentences) -> None:
    for name in (folder, str(folder)):
        tokenizer = load_tokenizer(name)
        assert isinstance(tokenizer, PreTrainedTokenizerBase)
        for text in sentences:
            assert tokenizer.encode(text) == trained["byte-level"].tokenizer.encode(text)


def test_relative_folder(folder, monkeypatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert load_tokenizer("saved").eos_token == "</s>"


def test_hub_name(folder, tmp_path) -> None:
    """The hub's own path, through its cache on disk; in a process of its own, as the library reads settings once."""
    home = tmp_path / "home"
    snapshot = home / "hub/models--someone--something/snapshots" / ("0" * 40)
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    (snapshot / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs/main").write_text("0" * 40)
    program = (
        "from salt_ext.vocab import load_tokenizer\n"
        "print(load_tokenizer('someone/something').eos_token)\n"
        "try: load_tokenizer('someone/nothing')\n"
        "except ValueError as error: print(type(error).__name__, error)\n"
    )
    settings = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    settings = {key: value for key, value in settings.items() if key not in ("HF_HUB_CACHE", "TRANSFORMERS_CACHE")}
    run = subprocess.run([sys.executable, "-c", program], env=settings, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0] == "</s>"
    assert len(lines) == 2
    assert lines[1].startswith("InputError tokenizer of someone/nothing: cannot be read: ")


def test_no_such_folder(tmp_path) -> None:
    for name in (tmp_path / "gone", str(tmp_path / "gone"), "./gone", "~/gone-for-good"):
        with pytest.raises(InputError, match=r"tokenizer folder .*gone.* does not exist"):
            load_tokenizer(name)


def test_a_file_alone(folder, trained, sentences, tmp_path) -> None:
    """By its name in its folder, and by any name elsewhere."""
    elsewhere = tmp_path / "mine.json"
    elsewhere.write_bytes((folder / "tokenizer.json").read_bytes())
    for file in (folder / "tokenizer.json", elsewhere):
        tokenizer = load_tokenizer(file)
        for text in sentences:
            assert tokenizer.encode(text) == trained["byte-level"].tokenizer.encode(text)
    assert load_tokenizer(folder / "tokenizer.json").eos_token == "</s>"


def test_files_that_are_no_tokenizer(folder, tmp_path) -> None:
    with pytest.raises(InputError, match=r"tokenizer_config\.json defines no tokenizer"):
        load_tokenizer(folder / "tokenizer_config.json")
    (tmp_path / "vocab.txt").write_text("a")
    with pytest.raises(InputError, match=r"vocab\.txt is a file; expected a folder with tokenizer files, a tokenizer"):
        load_tokenizer(tmp_path / "vocab.txt")
    pytest.importorskip("sentencepiece")
    for content in (b"", b"text", b"\n\x20cut"):
        (tmp_path / "cut.model").write_bytes(content)
        with pytest.raises(InputError, match=r"cut\.model: cannot be read: .* is no SentencePiece model"):
            load_tokenizer(tmp_path / "cut.model")


def test_folder_without_a_vocabulary(tmp_path) -> None:
    """Left to itself the library makes an empty tokenizer of a lone tokenizer_config.json."""
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "LlamaTokenizer"}))
    with pytest.raises(InputError, match=r"has no vocabulary file; expected tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_corrupt_file(folder) -> None:
    path = folder / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InputError, match=r"tokenizer of .* cannot be read: ") as caught:
        load_tokenizer(folder)
    assert "\n" not in str(caught.value)


def test_slow_only(tmp_path) -> None:
    (tmp_path / "vocab.txt").write_text("\n".join(["<cls>", "<pad>", "<eos>", "<unk>", "L", "A", "<mask>"]))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "EsmTokenizer"}))
    with pytest.raises(InputError, match="EsmTokenizer is a slow tokenizer; expected a fast one"):
        load_tokenizer(tmp_path)


def test_remote_code_is_not_run(folder) -> None:
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["tokenizer_class"] = "Evil"
    config["auto_map"] = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    marker = folder / "was-here"
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Evil: pass\n")
    try:
        load_tokenizer(folder)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017 - it may be refused or opened without the code, but never run it
    assert not marker.exists()
