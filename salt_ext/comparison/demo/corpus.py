"""Two 'languages' that every Python installation carries: the English of its documentation, and its code.

The source's language is the docstrings of the standard library and the paragraphs of `pydoc`'s help topics. The
target's is the same library's code without docstrings and comments, as `ast.unparse` spells it: a document is one
statement at the top of a module, a function or a class for the most part. The two share words and numbers and differ
in the rest.

Modules come in the order of a hash of their path, so that the modules of one package spread out. A module is held out
or trained on, never both, and no document is in two pools. The text depends on nothing but the version of Python.
"""

from __future__ import annotations

import ast
import hashlib
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from salt_ext.errors import InputError

# Not in every installation, generated from tables, copies of other modules, or not the standard library at all.
_LEFT_OUT = frozenset(
    {"__phello__", "dist-packages", "encodings", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "site-packages"}
    | {"test", "tests", "turtledemo"}
)
_DOCUMENT_BYTES = range(40, 8001)  # shorter ones say nothing, longer ones are mostly tables of constants


@dataclass
class Documents:
    """Distinct documents, in the order that they were found, and their size in UTF-8 bytes."""

    texts: dict[str, None] = field(default_factory=dict)
    bytes: int = 0

    def extend(self, texts: Iterable[str], *, unless: Documents | None = None) -> None:
        """Adds what is of a usable length, new here, and not in `unless`."""
        for text in texts:
            size = len(text.encode())
            if size in _DOCUMENT_BYTES and text not in self.texts and not (unless and text in unless.texts):
                self.texts[text] = None
                self.bytes += size


@dataclass(frozen=True)
class Corpus:
    """The demonstration's text; the four pools are disjoint, the held-out ones come from modules of their own."""

    english: list[str]
    code: list[str]
    held_out_english: list[str]
    held_out_code: list[str]


def read_corpus(*, train_bytes: int, held_out_bytes: int, library: Path | None = None) -> Corpus:
    """Reads as many modules of the standard library as the sizes ask for.

    Args:
        train_bytes: the least that each language needs for training.
        held_out_bytes: the least code to hold out; the documentation of the same modules is held out with it.
        library: a folder of Python files to read instead.

    Raises:
        InputError: the library holds less text, as where it comes without its sources.
    """
    library = library or Path(sysconfig.get_paths()["stdlib"])
    modules = iter(_modules(library))
    held_english, held_code, english, code = Documents(), Documents(), Documents(), Documents()
    while held_code.bytes < held_out_bytes and (tree := next(modules, None)):
        held_english.extend(_take_docstrings(tree))
        held_code.extend(map(ast.unparse, tree.body))
    english.extend(_help_topics(), unless=held_english)
    while (english.bytes < train_bytes or code.bytes < train_bytes) and (tree := next(modules, None)):
        english.extend(_take_docstrings(tree), unless=held_english)
        if code.bytes < train_bytes:
            code.extend(map(ast.unparse, tree.body), unless=held_code)
    for what, found, wanted in (
        ("code to hold out", held_code, held_out_bytes),
        ("code to train on", code, train_bytes),
        ("documentation to train on", english, train_bytes),
    ):
        if found.bytes < wanted:
            raise InputError(f"{library} has {found.bytes:,} bytes of {what}, expected at least {wanted:,}")
    return Corpus(list(english.texts), list(code.texts), list(held_english.texts), list(held_code.texts))


def _modules(library: Path) -> Iterator[ast.Module]:
    paths = {path.relative_to(library).as_posix(): path for path in library.rglob("*.py")}
    for name in sorted(paths, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if not _LEFT_OUT.isdisjoint(name.split("/")):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(paths[name].read_bytes())
        except (OSError, SyntaxError, ValueError):
            continue  # a library may carry templates and files for other versions of Python
        yield tree


def _take_docstrings(tree: ast.Module) -> list[str]:
    """The docstrings of a module, which are removed from it."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                found.append(text)
                node.body = node.body[1:] or [ast.Pass()]
    return found


def _help_topics() -> list[str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:  # some distributions package it apart
        return []
    return [paragraph for name in sorted(topics) for paragraph in topics[name].split("\n\n")]
