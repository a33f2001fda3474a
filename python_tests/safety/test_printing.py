"""Strings from anywhere through everything that prints: no error, no markup, and nothing that a terminal obeys.

SALT_FUZZ names the number of random strings for each printer, see test_fuzz.py.
"""

from __future__ import annotations

import io
import os
import random
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from salt_ext.cli.align import print_report
from salt_ext.cli.compare import print_comparison
from salt_ext.cli.demo import print_demonstration
from salt_ext.cli.explain import print_explanations
from salt_ext.cli.inspect import print_inspection
from salt_ext.cli.transfer import print_summary
from salt_ext.comparison.demo import Demonstration
from salt_ext.comparison.result import Comparison, Row
from salt_ext.comparison.table import html_comparison
from salt_ext.display import printing
from salt_ext.display.notebook import html_table
from salt_ext.display.printing import (
    PlainTable,
    complain,
    console,
    prepare_streams,
    printable,
    quoted,
    say,
    warn,
)
from salt_ext.pipeline.align import AlignReport
from salt_ext.pipeline.explanation import Explanation
from salt_ext.pipeline.inspection import Inspection
from salt_ext.pipeline.summary import html_summary
from salt_ext.plan import Provenance
from salt_ext.runtime.progress import terminal_bars

HOSTILE = [
    "[/INST]",
    "[bold]gone[/bold]",
    "[link=x",
    "\\[",
    ":smile:",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m\x85",
    "abc\u202edcba\u2066",
    "one\nsalt-ext: two\r\tthree",
    "\ud800 and \udc80",
    "\x00\x7f\u2028\u200b\ufeff\U000e0041",
    "e\u0301" * 40 + "漢字🙂👨\u200d👩",
    "x" * 5000,
    "",
]
_PIECES = [
    *HOSTILE,
    "[",
    "]",
    "/",
    "\\",
    "[red]",
    "[@click=f]",
    "\x1b",
    "(",
    "a",
    " ",
    "▁",
    "Ġ",
    "%s",
    "{0}",
    "<b>",
    "&amp;",
]


def drawn(generator: random.Random) -> str:
    letters = [chr(generator.randrange(0x110000)) for _ in range(4)] + [
        chr(generator.randrange(0x100)) for _ in range(4)
    ]
    return "".join(generator.choice([*_PIECES, *letters]) for _ in range(generator.randrange(1, 8)))


def summary_of(text: str) -> dict[str, Any]:
    counts = {kind.name.lower(): 1 for kind in Provenance} | {"total": 5}
    spread = {"median": 1.0, "p05": 1.0, "p95": 2.0}
    tried = {"method": text, "bits_per_byte": 1.0, "trained": None, "note": text}
    return {
        "rows": counts,
        "anchors": {"by_class": {text: 3}},
        "choice": {"method": text, "why": text, "tried": [tried]},
        "support": {"size": spread, "residual": spread, "weight_l1": spread},
        "norms": {text: {"ratio": 1.0, "regressed": {"mean": 1.0}, "source_anchors": {"mean": 1.0}}},
        "seconds": {text: 1.0},
        "peak_memory_bytes": 2_000_000,
        "peak_memory_before_check_bytes": 1_000_000,
        "machine": {"ops_ran_on": {text: text}},
        "method": {"name": text},
        "files": {"left_out": [text] * 12},
        "tokenizer": {"left_out": {text: [[1, text]]}},
        "warnings": [text, text],
    }


def inspection_of(text: str) -> Inspection:
    tokens = [text, "b"]
    vocabulary = SimpleNamespace(
        tokens=tokens, special_ids=frozenset({0}), roles={"bos": 0}, size=2, kind=text, forms=[None, None], byte_ids=()
    )
    config = {"architectures": [text, 1], "model_type": text}
    checkpoint = SimpleNamespace(config=config, rows=2)
    model = SimpleNamespace(checkpoint=checkpoint, vocabulary=vocabulary, rowless={7: text})
    target = SimpleNamespace(vocabulary=vocabulary, pairs={0: 0}, mapped={1: None}, added=(0,), left_out={text: (0,)})
    anchors = SimpleNamespace(
        source_ids=np.array([0]),
        target_ids=np.array([0]),
        kinds=np.array(["special"]),
        counts=lambda: {"special": 1},
        collisions={text: 1},
    )
    pair: Any = SimpleNamespace(source=model, donor=model, target=target)
    return Inspection(pair, anchors, [(text, 1.0, 2.0, 0.5)], [text])  # type: ignore[arg-type]


def comparison_of(text: str) -> Comparison:
    facts = {
        "seeds": [0],
        "adaptation": None,
        "text": {"bytes": 9},
        "anchors": 1,
        "new_tokens": 2,
        "seconds_in_all": 3.0,
    }
    return Comparison((Row(text, {"seconds": (1.0,)}),), 1.0, facts, (text, text))


def show_bars(text: str, screen: Console) -> None:
    with terminal_bars(screen, always=True) as show:
        assert show is not None
        show(text, 0, 0)
        show(text, 1, 1)


def show_table(text: str, screen: Console) -> None:
    table = PlainTable(text, title=text, show_lines=True)
    table.row([text, text])
    screen.print(table)


NO_ROWS = dict.fromkeys(("total", "copied", "regressed", "sampled", "averaged"), 0)
PRINTERS: dict[str, Callable[[str, Console], object]] = {
    "say": lambda text, screen: say(screen, text),
    "warn": lambda text, screen: warn(screen, [text]),
    "table": show_table,
    "summary": lambda text, screen: print_summary(summary_of(text), Path(text.replace("\0", "")), screen),
    "inspection": lambda text, screen: print_inspection(inspection_of(text), screen),
    "explanation": lambda text, screen: print_explanations(
        [Explanation(3, text, Provenance.REGRESSED, [(1, text, 0.5)] * 20, 0.5, 7, (12, 0.25))], screen
    ),
    "comparison": lambda text, screen: print_comparison(comparison_of(text), screen),
    "alignment": lambda text, screen: print_report(
        AlignReport(text, text, 1, (text,), 1, {text: 1}, {text: 1}, {text: 1.0}, 1), screen
    ),
    "demonstration": lambda text, screen: print_demonstration(
        Demonstration(SimpleNamespace(report={"rows": NO_ROWS}), comparison_of(text), 1, 1, {text: 1.0}),  # type: ignore[arg-type]
        screen,
    ),
    "bars": show_bars,
}


@pytest.mark.parametrize("name", PRINTERS)
def test_nothing_raises_and_nothing_is_obeyed(name):
    """On the package's own console, and on one of a caller that takes markup and emoji."""
    generator = random.Random(name)
    texts = [*HOSTILE, *(drawn(generator) for _ in range(int(os.environ.get("SALT_FUZZ") or 40)))]
    for number, text in enumerate(texts):
        for screen in (printing._Console, Console):
            stream = io.StringIO()
            PRINTERS[name](text, screen(file=stream, width=120, highlight=False))
            wrong = {letter for letter in stream.getvalue() if letter != "\n" and not visible(letter)}
            assert not wrong, f"text {number}, {text!a}: {sorted(map(ascii, wrong))}"


@pytest.mark.parametrize("name", PRINTERS)
def test_what_looks_like_markup_is_printed(name):
    for text in ("[/INST]", "[bold]gone[/bold]", ":smile:", "[link=x"):
        stream = io.StringIO()
        PRINTERS[name](text, Console(file=stream, width=300))
        assert text in stream.getvalue()


def visible(letter: str) -> bool:
    """By the categories of Unicode: no control, format, surrogate, private or unassigned letter, no line separator."""
    return unicodedata.category(letter)[0] != "C" and unicodedata.category(letter) not in ("Zl", "Zp")


def test_on_a_terminal_the_only_escapes_are_those_of_the_colours():
    for text in HOSTILE:
        stream = io.StringIO()
        print_summary(summary_of(text), Path("out"), Console(file=stream, width=200, force_terminal=True))
        rest = re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
        assert all(visible(letter) or letter == "\n" for letter in rest), ascii(text)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("name", PRINTERS)
def test_on_any_encoding(name, encoding, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    prepare_streams()
    for text in HOSTILE:
        PRINTERS[name](text, console())
    sys.stdout.flush()
    shown = raw.getvalue().decode(encoding)
    assert all(visible(letter) or letter == "\n" for letter in shown)
    if name in ("summary", "inspection", "explanation"):
        assert "\\x1b[2J" in shown


def test_our_own_signs_are_spelt_in_plain_letters(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    prepare_streams()
    say(console(), "0.5 ± 0.1 … \u2016w\u2016\u2081 ä")
    sys.stdout.flush()
    assert raw.getvalue() == b"0.5 +/- 0.1 ... |w|1 \\xe4\n"


def test_printable_keeps_what_is_seen():
    seen = "Straße, 中文 🙂 ▁Haus\u00a0und\u3000mehr"
    assert printable(seen) == seen
    assert printable("a\nb\x1b\u202e\ud800") == "a\\nb\\x1b\\u202e\\ud800"
    assert printable("a" * 100 + "b" * 100, most=20) == "a" * 10 + " … " + "b" * 10
    assert quoted(None) == "None"
    assert quoted("None") == "'None'"


def test_a_sentence_is_one_line_and_a_warning_comes_once():
    stream = io.StringIO()
    path = "/" + "very-long-folder/" * 30
    screen = Console(file=stream, width=40)
    say(screen, path)
    warn(screen, ["twice", "other", "twice"])
    assert stream.getvalue() == f"{path}\nwarning: twice\nwarning: other\n"


def test_html_shows_text():
    for text in ("<script>alert(1)</script>", "\x1b[2J", '" onload="x'):
        for made in (html_table(text, [text], [[text]], [text]), html_summary(summary_of(text), Path("o"))):
            assert text not in made
            assert "script>" not in re.sub(r"&[a-z]+;", "", made) or "&lt;script&gt;" in made
        assert text not in html_comparison(comparison_of(text))


def test_complaints_are_one_line(capsys):
    for text in HOSTILE:
        complain(text)
        printed = capsys.readouterr().err
        assert printed.count("\n") == 1
        assert all(visible(letter) for letter in printed[:-1]), ascii(text)
