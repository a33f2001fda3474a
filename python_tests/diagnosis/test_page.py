"""The page as a browser reads it: whole, closed, without a request, and with every token as text."""

from __future__ import annotations

import re

from salt_ext.diagnosis.page.render import token_text

from .conftest import HOSTILE

SECTIONS = {
    "cost", "head", "layers", "held-out", "rows", "map", "cuts", "undertrained", "audit", "tokens"
}  # fmt: skip


def test_every_section_is_there_and_linked(diagnosis, parsed):
    page = parsed(diagnosis.page)
    assert {attributes["id"] for attributes in page.of("section")} == SECTIONS
    targets = {attributes["href"] for attributes in page.of("a")}
    assert targets == {f"#{section}" for section in SECTIONS} | (targets & {"#trainings"})
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_nothing_is_loaded(diagnosis, parsed):
    page = parsed(diagnosis.page)
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form")
        assert not {"src", "srcset", "data", "action", "xlink:href", "onerror", "onload", "onclick"} & attributes.keys()
        assert attributes.get("href", "#").startswith("#")
    html = diagnosis.page.read_text(encoding="utf-8")
    assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttp|import\(", html)
    policy = next(a["content"] for a in page.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert len(html.encode()) < 3_000_000


def test_a_hostile_token_is_text(diagnosis, parsed):
    """Its closing tag must not end the script that holds the table, nor its image become an element."""
    page = parsed(diagnosis.page)
    assert len(list(page.of("script"))) == 2
    row = next(row for row in page.token_data["rows"] if row[1] == HOSTILE)
    assert diagnosis.facts.tokens.rows[row[0]][1] == HOSTILE
    html = diagnosis.page.read_text(encoding="utf-8")
    assert "<img" not in html
    assert html.count("</script>") == 2


def test_hostile_names_are_text(diagnosis, parsed, tmp_path):
    """Names of models, files and series come from strangers as well."""
    from dataclasses import replace

    from salt_ext.diagnosis.page.render import render
    from salt_ext.diagnosis.trainings import Series, Training
    from salt_ext.diagnosis.verdict import judge

    series = Series(HOSTILE, ((0.0, 2.0), (1.0, 1.0)), 2.0, 1.0)
    facts = replace(
        diagnosis.facts,
        model=HOSTILE,
        method=HOSTILE,
        donor="\u202egpj.exe",
        warnings=(HOSTILE,),
        left_out={HOSTILE: HOSTILE},
        trainings=(Training(HOSTILE, "tokens", (series,), (), ((HOSTILE, HOSTILE),)),),
    )
    file = tmp_path / "page.html"
    file.write_text(render(facts, judge(facts)), encoding="utf-8")
    page = parsed(file)
    assert not list(page.of("img"))
    assert page.text_in("h1") == f"Diagnosis of {HOSTILE}"
    assert "\u202e" not in file.read_text(encoding="utf-8")


def test_tables_say_what_their_cells_are(diagnosis, parsed):
    page = parsed(diagnosis.page)
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.of("th"))
    assert all(attributes.get("aria-label") for attributes in page.of("svg"))
    assert next(page.of("html"))["lang"] == "en"
    for attributes in page.of("input"):
        assert attributes["id"] == "token-search"


def test_the_table_without_a_script_begins_like_the_one_with_it(diagnosis, parsed):
    page = parsed(diagnosis.page)
    spelt = [data for tag, data in page.texts if tag == "code"]
    first = [row[1] for row in page.token_data["rows"][:25]]
    assert [token for token in spelt if token in first][-1]
    assert set(first) <= set(spelt)


def test_the_style_knows_dark_rooms_and_paper(diagnosis):
    html = diagnosis.page.read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html


def test_tokens_show_their_spaces_and_nothing_that_a_screen_obeys():
    assert token_text(" Haus") == "␣Haus"
    assert token_text("  ") == "␣␣"
    assert token_text("") == ""
    assert token_text("a b ") == "a b␣"
    assert token_text("\x1b[2J\n") == "\\x1b[2J\\n"
    assert len(token_text("x" * 1000)) < 70
