"""The page in a browser: its script runs without an error, search and sorting change the table, and something is drawn.

Headless Chromium, where the machine has one.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from .conftest import HOSTILE, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the PATH")]


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., str]:
    """Opens a page, and returns what Chromium prints; an error of the page's script fails."""

    def run(page: Path, *options: str, fragment: str = "") -> str:
        command = [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", *options, f"{page.as_uri()}{fragment}"
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=120, check=True)
        assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return done.stdout

    return run


def rows_of(dom: str) -> list[list[str]]:
    """The texts of the token table's rows."""
    table = dom[dom.index('<table id="token-table">') :]
    body = table[table.index("<tbody>") : table.index("</tbody>")]
    found: list[list[str]] = []
    for row in body.split("<tr>")[1:]:
        page = Page(f"<table><tbody><tr>{row}</tbody></table>")
        found.append([data for _, data in page.texts])
    return found


def test_the_script_fills_the_table(diagnosis, browse):
    dom = browse(diagnosis.page, "--dump-dom")
    assert 'data-ready="yes"' in dom
    tokens = len(diagnosis.facts.tokens.rows)
    assert f"{tokens} of {tokens} tokens" in dom
    assert len(rows_of(dom)) == 100


def test_the_search_filters(diagnosis, browse):
    wanted = " sch"
    dom = browse(diagnosis.page, "--dump-dom", fragment=f"#token={quote(wanted)}")
    names = diagnosis.facts.tokens.names
    expected = [
        row[0]
        for row in diagnosis.facts.tokens.rows
        if any(wanted in text.lower() for text in (row[1], *(names[place] for place in row[8][::2])))
    ]
    assert 0 < len(expected) < 100
    assert [int(row[0]) for row in rows_of(dom)] == expected
    assert f"{len(expected)} of" in dom


def test_a_number_sign_finds_an_id(diagnosis, browse):
    (row,) = rows_of(browse(diagnosis.page, "--dump-dom", fragment="#token=%23270"))
    assert row[0] == "270"


def test_a_hostile_token_stays_text(diagnosis, browse):
    dom = browse(diagnosis.page, "--dump-dom", fragment=f"#token={quote(HOSTILE)}")
    (row,) = rows_of(dom)
    assert HOSTILE in row
    assert "<img" not in dom


def test_a_heading_sorts(diagnosis, browse, tmp_path):
    """By norm, downwards first."""
    page = tmp_path / "sorted.html"
    html = diagnosis.page.read_text(encoding="utf-8")
    click = "<script>document.querySelector('button[data-column=\"3\"]').click()</script></body>"
    page.write_text(html.replace("</body>", click), encoding="utf-8")
    dom = browse(page, "--dump-dom")
    norms = sorted((row[3] for row in diagnosis.facts.tokens.rows), reverse=True)
    shown = [float(row[3]) for row in rows_of(dom)]
    assert shown == pytest.approx(norms[:100], abs=0.006)
    assert 'aria-sort="descending"' in dom


def test_a_screenshot(diagnosis, browse, tmp_path):
    picture = tmp_path / "page.png"
    browse(diagnosis.page, f"--screenshot={picture}", "--window-size=1200,3000")
    data = picture.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")) == (1200, 3000)
    assert len(data) > 100_000  # a blank page of this size takes a few thousand
