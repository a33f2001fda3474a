"""The demonstration's text: pools that share nothing, code without English, and messages where there is too little."""

from __future__ import annotations

import ast
import builtins
from pathlib import Path
from typing import Any

import pytest

from salt_ext.comparison.demo.corpus import Corpus, read_corpus
from salt_ext.comparison.demo.run import source_text
from salt_ext.errors import InputError


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return read_corpus(train_bytes=150_000, held_out_bytes=20_000)


def size(documents: list[str]) -> int:
    return sum(len(document.encode()) for document in documents)


def test_sizes_are_as_asked(corpus: Corpus) -> None:
    assert size(corpus.english) >= 150_000
    assert 150_000 <= size(corpus.code) < 400_000  # whole modules: a little more, not the whole library
    assert 20_000 <= size(corpus.held_out_code) < 300_000


def test_no_document_is_in_two_pools_or_twice_in_one(corpus: Corpus) -> None:
    pools = [corpus.english, corpus.code, corpus.held_out_english, corpus.held_out_code]
    together = [document for pool in pools for document in pool]
    assert len(together) == len(set(together))
    assert all(pools)


def test_code_is_code_without_docstrings_and_comments(corpus: Corpus) -> None:
    for document in corpus.code + corpus.held_out_code:
        tree = ast.parse(document)
        assert ast.unparse(tree) == document  # so no comment can be in it
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
                assert ast.get_docstring(node) is None


def test_the_text_is_the_same_every_time(corpus: Corpus) -> None:
    assert read_corpus(train_bytes=150_000, held_out_bytes=20_000) == corpus


def write_library(folder: Path, modules: int) -> Path:
    for number in range(modules):
        folder.joinpath(f"m{number}.py").write_text(
            f'"""Documentation of the module with the number {number}, long enough to count."""\n'
            f"def function_{number}(argument):\n"
            f'    """What function {number} does is written down here at length."""\n'
            f"    # nobody reads this\n"
            f"    return argument * {number} + {number} - argument\n",
            encoding="utf-8",
        )
    folder.joinpath("broken.py").write_text("def (:\n", encoding="utf-8")
    folder.joinpath("test").mkdir()
    folder.joinpath("test", "m.py").write_text('"""Tests are not part of every installation of Python."""\n')
    return folder


def test_without_help_topics_the_docstrings_serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("pydoc_data"):
            raise ImportError(name)
        return usual(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    corpus = read_corpus(train_bytes=400, held_out_bytes=200, library=write_library(tmp_path, 30))
    assert set(corpus.english) & set(corpus.held_out_english) == set()
    assert all("number" in text or "function" in text for text in corpus.english)
    assert not any("Tests are not" in text for text in corpus.english)
    # A module's documentation is held out with its code.
    held = {text.split("(")[0].removeprefix("def function_") for text in corpus.held_out_code}
    assert held
    assert not any(f"number {number}," in text for number in held for text in corpus.english)


def test_too_little_text_is_one_sentence(tmp_path: Path) -> None:
    library = write_library(tmp_path, 3)
    with pytest.raises(InputError, match="bytes of code to hold out, expected at least 10,000"):
        read_corpus(train_bytes=100, held_out_bytes=10_000, library=library)
    with pytest.raises(InputError, match="bytes of code to train on, expected at least 10,000"):
        read_corpus(train_bytes=10_000, held_out_bytes=50, library=library)


def test_the_source_sees_the_share_of_code_that_is_asked_for(corpus: Corpus) -> None:
    mixed = source_text(corpus, 0.05)
    code = mixed[len(corpus.english) :]
    assert mixed[: len(corpus.english)] == corpus.english
    assert code == corpus.code[: len(code)]
    assert size(code) / size(mixed) == pytest.approx(0.05, abs=0.02)
    assert set(mixed).isdisjoint(corpus.held_out_code)
