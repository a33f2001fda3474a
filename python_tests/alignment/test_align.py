"""salt-ext align: as a user types it, from texts and from lexicons, on small tokenizers and on real text."""

from __future__ import annotations

import json

import pytest

from salt_ext import cli
from salt_ext.alignment import read_table

from .conftest import ENGLISH, GERMAN


@pytest.fixture
def texts(tmp_path):
    (tmp_path / "text.en").write_text("\n".join(ENGLISH * 12), encoding="utf-8")
    (tmp_path / "text.de").write_text("\n".join(GERMAN * 12), encoding="utf-8")
    return tmp_path / "text.en", tmp_path / "text.de"


@pytest.fixture
def align(capsys, folders, tmp_path):
    """Runs the command: exit code, what it printed, what it complained of."""

    def run(*arguments: object, source=folders[0], target=folders[1]):
        capsys.readouterr()
        output = tmp_path / "table.tsv"
        command = ["align", *arguments, "--source", source, "--target", target, "-o", output]
        code = cli.run([str(argument) for argument in command])
        printed = capsys.readouterr()
        return code, " ".join(printed.out.split()), printed.err

    return run


def counts_of(path, trained):
    counts = read_table(path).counts
    old, new = (side.vocabulary.tokens for side in trained["byte-level"])
    rows = zip(counts.target_ids.tolist(), counts.source_ids.tolist(), counts.counts.tolist(), strict=True)
    return {(new[t], old[s]): count for t, s, count in rows}


@pytest.mark.parametrize("swapped", [False, True])
def test_texts_the_wrong_way_round(align, real_data, swapped, tmp_path):
    """Real tokenizers: English is the source's language."""
    names = ["docs.en-de.en", "docs.en-de.de"]
    for name in names:
        lines = (real_data / "aligned" / name).read_text(encoding="utf-8").splitlines()[:300]
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    files = [tmp_path / name for name in (names[::-1] if swapped else names)]
    models = {"source": real_data / "models/en-llama", "target": real_data / "models/de-gpt"}
    code, printed, _ = align(*files, "--report", tmp_path / "report.json", **models)
    assert code == 0
    assert ("warning: source text and target text look swapped" in printed) is swapped
    assert len(json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["warnings"]) == swapped


def test_texts(align, texts, tmp_path, trained):
    """The dog, in three of every five lines and with other words each time, is the Hund."""
    code, printed, complaint = align(*texts, "--report", tmp_path / "report.json")
    assert (code, complaint) == (0, "")
    for word in ("Coverage", "copied", "mapped", "identical", "smoothed", "unknown", "60 pairs of lines", "MiB"):
        assert word in printed
    counts = counts_of(tmp_path / "table.tsv", trained)
    best = max((old for new, old in counts if new == "ĠHund"), key=lambda old: counts["ĠHund", old])
    assert best == "Ġdog"
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert sum(report["tokens"].values()) == trained["byte-level"][1].vocabulary.size
    tokenizer = trained["byte-level"][1].tokenizer
    assert sum(report["occurrences"].values()) == sum(
        len(tokenizer(line, add_special_tokens=False)["input_ids"]) for line in GERMAN * 12
    )
    assert report["pairs"] == len(counts)


def test_rare_translations_are_dropped(align, texts, tmp_path, trained):
    align(*texts, "--min-count", 1)
    every = counts_of(tmp_path / "table.tsv", trained)
    align(*texts, "--min-count", 20, "--force")
    assert 0 < len(counts_of(tmp_path / "table.tsv", trained)) < len(every)
    code, _, complaint = align(*texts, "--min-count", 1000, "--force")
    assert (code, complaint.count("\n")) == (2, 1)
    assert "the alignment is empty" in complaint


def test_alignments_of_another_program(align, texts, tmp_path, trained):
    """Of the units that the command itself writes: only the house is aligned, where it is the second unit."""
    align(*texts, "--write-units", tmp_path / "units.txt")
    units = [line.split(" ||| ") for line in (tmp_path / "units.txt").read_text(encoding="utf-8").split("\n")[:-1]]
    places = [f"{s.split().index('house')}-{t.split().index('Haus')}" if "house" in s else "" for s, t in units]
    (tmp_path / "links").write_text("\n".join(places) + "\n")
    code, _, _ = align(*texts, "--pharaoh", tmp_path / "links", "--force")
    assert code == 0
    assert counts_of(tmp_path / "table.tsv", trained) == {("ĠHaus", "Ġhouse"): 36}


def test_dictionary_and_probabilities(align, tmp_path, trained):
    (tmp_path / "words").write_text("house\tHaus\ndog\tHund\t0.5\n")
    assert align("--dictionary", tmp_path / "words")[0] == 0
    counts = counts_of(tmp_path / "table.tsv", trained)
    assert counts["ĠHaus", "Ġhouse"] == 1000
    (tmp_path / "table").write_text("house\tHaus\t-0.1\t12.7\n<eps>\tHaus\t-0.1\t99\nhouse\tHund\t-3\t9.9\n")
    assert align("--probabilities", tmp_path / "table", "--force")[0] == 0
    assert counts_of(tmp_path / "table.tsv", trained) == {("ĠHaus", "Ġhouse"): 12}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to align: expected a source text and a target text, --probabilities or --dictionary"),
        (("text.en",), "has no target text beside it"),
        (("text.en", "text.de", "--dictionary", "text.de"), "--dictionary stands alone"),
        (("--dictionary", "text.de", "--probabilities", "text.en"), "stands alone"),
        (("text.en", "absent"), "target text absent cannot be read: No such file"),
        (("text.en", "short"), "has 60 lines and target text short 2;"),
        (("--dictionary", "text.de"), "line 1 is 'das kleine Haus steht hier', expected source word, tab"),
        (("text.en", "text.de", "--pharaoh", "short"), "has 2 lines, expected 60"),
    ],
)
def test_mistakes_end_in_one_sentence(align, texts, tmp_path, monkeypatch, arguments, message):
    (tmp_path / "short").write_text("0-0\n1-1")
    monkeypatch.chdir(tmp_path)
    code, printed, complaint = align(*arguments)
    assert (code, printed, complaint.count("\n")) == (2, "", 1)
    assert complaint.startswith("salt-ext: ")
    assert message in complaint
    assert not (tmp_path / "table.tsv").exists()


def test_bad_tokenizers_and_outputs(align, texts, tmp_path):
    assert "source: tokenizer folder" in align(*texts, source=tmp_path / "absent")[2]
    assert align(*texts)[0] == 0
    before = (tmp_path / "table.tsv").read_bytes()
    code, _, complaint = align(*texts)
    assert code == 2
    assert "exists; choose another name, or --force" in complaint
    assert (tmp_path / "table.tsv").read_bytes() == before
    assert align(*texts, "--force", "--quiet") == (0, "", "")


def test_help_names_the_command(capsys):
    cli.run(["--help"])
    assert "align" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("language", "target", "least"), [("de", "models/de-gpt", 0.4), ("vi", "tokenizers/qwen2.5", 0.6)]
)
def test_real_text(align, real_data, tmp_path, language, target, least):
    """Three thousand pairs of lines map that share of the tokens in the text, and nearly none stays unknown."""
    files = [real_data / f"aligned/docs.en-{language}.{side}" for side in ("en", language)]
    report = tmp_path / "report.json"
    assert align(*files, "--report", report, source=real_data / "models/en-llama", target=real_data / target)[0] == 0
    found = json.loads(report.read_text(encoding="utf-8"))
    shares = {origin: count / sum(found["occurrences"].values()) for origin, count in found["occurrences"].items()}
    assert shares["mapped"] > least
    assert shares["unknown"] < 0.02


def test_real_translations(align, real_data, tmp_path, real):
    """Frequent words whose one translation every dictionary has."""
    files = [real_data / f"aligned/docs.en-de.{side}" for side in ("en", "de")]
    align(*files, source=real_data / "models/en-llama", target=real_data / "models/de-gpt")
    counts = read_table(tmp_path / "table.tsv").counts
    old, new = (real(name).vocabulary.tokens for name in ("models/en-llama", "models/de-gpt"))
    best: dict[str, tuple[int, str]] = {}
    for t, s, count in zip(counts.target_ids, counts.source_ids, counts.counts, strict=True):
        best[new[t]] = max(best.get(new[t], (0, "")), (int(count), old[s]))
    for german, english in {
        "und": "and",
        "oder": "or",
        "mit": "with",
        "nicht": "not",
        "ist": "is",
        "für": "for",
    }.items():
        spelt = "Ġ" + german.replace("ü", "Ã¼")
        assert best[spelt][1] == f"Ġ{english}"
