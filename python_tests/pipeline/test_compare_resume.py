"""compare in parts: results are kept as they come, a run that was cut off goes on, and says where it is."""

from __future__ import annotations

import json

import pytest

import salt_ext
from salt_ext import cli
from salt_ext.comparison.evaluator import Evaluator
from salt_ext.comparison.journal import JOURNAL_FILE, Journal, Result
from salt_ext.comparison.pace import Pace
from salt_ext.errors import InputError, OutputError

from .conftest import ONLY_TARGET, SHARED, text_of

pytestmark = pytest.mark.usefixtures("one_thread")

METHODS = "focus,subword"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("texts") / "text.txt"
    file.write_text("\n".join(text_of(SHARED + ONLY_TARGET, 51, 600)) + "\n", encoding="utf-8")
    return file


def run(source, donor, text, folder, methods=METHODS, **options):
    told: list[str] = []
    made = salt_ext.compare(
        source, donor, methods, text=[text], output=folder, log=told.append, device="cpu", **options
    )
    return made, told


def cut_off(monkeypatch, after: int) -> list[str]:
    """Measuring is interrupted when so many plans have been measured; returns what was."""
    measured: list[str] = []
    true = Evaluator.try_plan

    def stop(self, plan, **more):
        if len(measured) == after:
            raise KeyboardInterrupt
        measured.append(plan.metadata["method"])
        return true(self, plan, **more)

    monkeypatch.setattr(Evaluator, "try_plan", stop)
    return measured


def figures(made):
    return {row.method: {k: v for k, v in row.figures.items() if k.startswith(("bits", "held"))} for row in made.rows}


def test_a_run_that_was_cut_off_goes_on(source, donor, text, tmp_path, monkeypatch):
    whole, told = run(source, donor, text, tmp_path / "whole")
    assert not (tmp_path / "whole" / JOURNAL_FILE).exists()
    assert told[0] == "4 results to come"
    assert told[1].startswith("1 of 4: focus, seed 0: ")
    assert "to go" in told[1]
    assert "to go" not in told[4]
    with monkeypatch.context() as patched:
        assert cut_off(patched, 2) == []
        with pytest.raises(KeyboardInterrupt):
            run(source, donor, text, tmp_path / "parts")
    assert not (tmp_path / "parts" / "table.csv").exists()
    measured = cut_off(monkeypatch, 99)
    made, told = run(source, donor, text, tmp_path / "parts", METHODS + ",global", seeds=1)
    assert measured == ["global", "mean", "random"]
    assert told[0] == "5 results to come, 2 of them there from an earlier run"
    assert {k: v for k, v in figures(made).items() if k != "global"} == figures(whole)
    assert not (tmp_path / "parts" / JOURNAL_FILE).exists()
    assert json.loads((tmp_path / "parts" / "table.json").read_text())["methods"][0]["method"] == "focus"


def test_other_inputs_are_not_mixed(source, donor, text, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        cut_off(patched, 1)
        with pytest.raises(KeyboardInterrupt):
            run(source, donor, text, tmp_path / "out")
    kept = (tmp_path / "out" / JOURNAL_FILE).read_bytes()
    other = tmp_path / "other.txt"
    other.write_text(text.read_text(encoding="utf-8") + "an en\n", encoding="utf-8")
    for given, name in (({"text": other}, "text"), ({"text": text, "match": "loose"}, "match")):
        file = given.pop("text")
        with pytest.raises(OutputError, match=rf"unfinished comparison of other inputs \({name}\)"):
            run(source, donor, file, tmp_path / "out", **given)
    assert (tmp_path / "out" / JOURNAL_FILE).read_bytes() == kept


def test_a_file_of_an_option_that_changed_is_measured_anew(source, donor, text, tmp_path, monkeypatch):
    sample = tmp_path / "sample.txt"
    sample.write_text("an en ter lo mi sa\n" * 30, encoding="utf-8")
    methods = f"tokalign:text={sample};minimum_length=3,focus"
    with monkeypatch.context() as patched:
        cut_off(patched, 2)
        with pytest.raises(KeyboardInterrupt):
            run(source, donor, text, tmp_path / "out", methods)
    sample.write_text("lo mi sa an en\n" * 30, encoding="utf-8")
    measured = cut_off(monkeypatch, 99)
    _, told = run(source, donor, text, tmp_path / "out", methods)
    assert told[0] == "4 results to come, 1 of them there from an earlier run"
    assert measured == [methods.partition(",")[0], "mean", "random"]


def test_a_run_without_a_result_leaves_nothing(source, donor, text, tmp_path):
    with pytest.raises(InputError, match="k is 100000"):
        run(source, donor, text, tmp_path / "out", "omp:k=100000")
    assert not (tmp_path / "out" / JOURNAL_FILE).exists()
    run(source, donor, text, str(tmp_path / "out"), "focus", max_bytes=5000)  # a string is a path, too


@pytest.mark.parametrize(
    "content", [b"my notes\n", b'{"a": 1}\n', b'{"salt-ext compare": "x"}\n{"method": 1}\n', b"\xff\n", b"notes"]
)
def test_what_is_no_journal_stays(content, tmp_path):
    (tmp_path / JOURNAL_FILE).write_bytes(content)
    with pytest.raises(OutputError, match="is no comparison's; choose another folder"):
        Journal.open(tmp_path, {"a": 1})
    assert (tmp_path / JOURNAL_FILE).read_bytes() == content


@pytest.mark.parametrize("cut", [1, 20, 70])
def test_half_a_line_is_forgotten(cut, tmp_path):
    journal = Journal.open(tmp_path, {"a": 1})
    for seed in range(2):
        journal.add(Result("salt", seed, {"seconds": 1.5}, ("careful",)))
    file = tmp_path / JOURNAL_FILE
    file.write_bytes(file.read_bytes()[:-cut])
    again = Journal.open(tmp_path, {"a": 1})
    assert again.results == {("salt", 0): Result("salt", 0, {"seconds": 1.5}, ("careful",))}
    again.add(Result("salt", 1, {"seconds": 2.0}))
    assert len(Journal.open(tmp_path, {"a": 1}).results) == 2


def test_the_time_left_is_that_of_what_is_done(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("salt_ext.comparison.pace.time.perf_counter", lambda: now[0])
    pace = Pace(total=6, done=2)
    assert pace.begin() == "6 results to come, 2 of them there from an earlier run"
    now[0] = 100.0
    assert pace.next("a") == "3 of 6: a (1 min 40 s gone, about 5 min 0 s to go)"
    now[0] = 4000.0
    assert pace.next("b") == "4 of 6: b (1 h 6 min gone, about 1 h 6 min to go)"


def test_a_figure_that_means_nothing_is_empty(source, donor, text, tmp_path):
    """Sub-words rebuild an anchor from itself: nothing was held out."""
    made, _ = run(source, donor, text, tmp_path / "out")
    rows = {row.method: row for row in made.rows}
    assert rows["subword"].mean("held_out_cosine") is None
    assert rows["focus"].mean("held_out_cosine") is not None
    line = next(line for line in made.csv().splitlines() if line.startswith("subword"))
    header = made.csv().splitlines()[0].split(",")
    assert line.split(",")[header.index("held_out_cosine")] == ""


def test_the_command_logs_where_there_is_no_terminal(source, donor, text, tmp_path, capsys, monkeypatch):
    arguments = ["compare", str(source), str(donor), "--methods", "focus", "--text", str(text), "-o"]
    assert cli.run([*arguments, str(tmp_path / "a")]) == 0
    told = capsys.readouterr().err
    assert "3 results to come" in told
    assert "3 of 3: random, seed 0: " in told
    cut_off(monkeypatch, 1)
    assert cli.run([*arguments, str(tmp_path / "b")]) == 130
    assert "the same command goes on behind it" in " ".join(capsys.readouterr().err.split())
