"""From a folder to a page: what is found, what is left out with its reason, and what is refused before any work."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import salt_ext
from salt_ext import cli
from salt_ext.diagnosis.models import open_models
from salt_ext.diagnosis.subject import open_subject
from salt_ext.errors import InputError, OutputError
from salt_ext.runtime.progress import Clock


@pytest.fixture
def copy(moved, tmp_path) -> Path:
    """A copy of the moved model that a test may damage."""
    return Path(shutil.copytree(moved, tmp_path / "moved"))


def edit(file: Path, change) -> None:
    report = json.loads(file.read_text())
    change(report)
    file.write_text(json.dumps(report))


def quick(folder, **options):
    return salt_ext.diagnose(folder, progress=False, threads=1, **options)


def test_the_facts_are_json(diagnosis):
    found = json.loads(json.dumps(diagnosis.as_json(), allow_nan=False))
    assert found["verdict"]["word"] in ("good", "look", "bad")
    assert found["left_out"] == {}
    assert found["model"] == "moved"
    assert found["method"].startswith("salt")
    assert found["rows"]["counts"]["copied"] == sum(found["anchors"].values())
    assert found["texts"] == ["new.txt"]


def test_no_path_of_this_machine_is_on_the_page(diagnosis, moved, source, donor, text):
    html = diagnosis.page.read_text(encoding="utf-8")
    for path in (moved, source, donor, text):
        assert str(path.parent) not in html


def test_the_page_lies_beside_the_folder_and_is_not_replaced(copy):
    page = copy.with_name("moved.html")
    page.write_text("mine")
    with pytest.raises(OutputError, match=r"exists; choose another name, or --force"):
        quick(copy)
    assert page.read_text() == "mine"
    assert quick(copy, force=True).page == page
    assert "Diagnosis of moved" in page.read_text(encoding="utf-8")


def test_without_the_models_the_page_says_what_is_missing(copy, tmp_path, text, parsed):
    edit(copy / "salt_report.json", lambda report: report["inputs"]["source"].update(folder="/nowhere/source"))
    found = quick(copy, text=[text])
    assert "which is not there; --source names its folder" in found.facts.left_out["source"]
    facts = found.facts
    assert (facts.held_out, facts.audit, facts.cuts, facts.undertrained, facts.states) == (None,) * 5
    assert facts.cost.source is None
    assert facts.cost.mean_rows is not None
    assert {a["id"] for a in parsed(found.page).of("section")} == {"cost", "rows", "map", "tokens"}


def test_without_the_donor(copy):
    edit(copy / "salt_report.json", lambda report: report["inputs"]["donor"].update(folder=None))
    facts = quick(copy).facts
    assert set(facts.left_out) == {"donor", "bits per byte"}
    assert (facts.held_out, facts.audit) == (None, None)
    assert facts.cuts is not None
    assert facts.undertrained.donor is None


def test_a_source_that_is_another_by_now_is_left_out_and_a_named_one_refused(copy, source, tmp_path):
    other = shutil.copytree(source, tmp_path / "other")
    edit(other / "config.json", lambda config: config.update(rms_norm_eps=0.1))
    with pytest.raises(InputError, match=r"is not the source of this transfer: its config.json"):
        quick(copy, source=other)
    edit(copy / "salt_report.json", lambda report: report["inputs"]["source"].update(folder=str(other)))
    assert "is not the source of this transfer" in quick(copy).facts.left_out["source"]


def test_models_that_are_named_take_the_place_of_the_reports(copy, source, donor):
    def forget(report):
        for what in ("source", "donor"):
            report["inputs"][what]["folder"] = "gone"

    edit(copy / "salt_report.json", forget)
    facts = quick(copy, source=source, donor=donor).facts
    assert facts.held_out is not None
    assert facts.audit is not None


def test_no_code_and_no_download_on_a_reports_word(copy):
    """A report may come from anywhere: hub names in it are not followed."""
    edit(copy / "salt_report.json", lambda report: report["inputs"]["source"].update(folder="org/model"))
    assert "'org/model', which is not there" in quick(copy).facts.left_out["source"]
    edit(copy / "salt_report.json", lambda report: report["options"].update(tokenizer="org/tokenizer"))
    assert quick(copy, force=True).facts.held_out is None


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: shutil.rmtree(folder), "there is no folder"),
        (lambda folder: (folder / "salt_plan.safetensors").unlink(), "has no salt_plan.safetensors; expected the"),
        (lambda folder: (folder / "salt_report.json").unlink(), "has no salt_report.json; expected the output"),
        (lambda folder: (folder / "salt_report.json").write_text("{"), "is not valid JSON"),
        (lambda folder: (folder / "salt_report.json").write_text("[]"), "holds a JSON list"),
        (lambda folder: (folder / "salt_report.json").write_text("{}"), "is no report of salt-ext transfer"),
        (
            lambda folder: edit(folder / "salt_report.json", lambda report: report.pop("options")),
            "has no options, expected a report",
        ),
        (
            lambda folder: edit(folder / "salt_report.json", lambda report: report["inputs"].update(source=[])),
            "has no inputs.source.sha256",
        ),
        (lambda folder: (folder / "salt_plan.safetensors").write_bytes(b"x" * 100), "cannot be read as a transfer"),
        (lambda folder: cut_table(folder), "they do not belong together"),
    ],
)  # fmt: skip
def test_a_folder_that_is_no_output(damage, says, copy, capsys):
    damage(copy)
    assert cli.run(["diagnose", str(copy)]) == 2
    assert says in capsys.readouterr().err
    assert not copy.with_name("moved.html").exists()


def cut_table(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"][:-8].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    edit(folder / "config.json", lambda config: config.update(vocab_size=config["vocab_size"] - 8))


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", "many"), ("match", 7), ("aux", ["x"]), ("ridge", {}), ("token_map", 5), ("keep_markers", [])],
)
def test_a_foreign_reports_options_are_told_and_not_raised(name, value, copy):
    edit(copy / "salt_report.json", lambda report: report["options"].update({name: value}))
    models = open_models(open_subject(copy), None, None, trust_remote_code=False, clock=Clock())
    assert models.transferred is None
    assert len(models.missing) == 1


def test_a_foreign_reports_words_are_words(copy):
    def spoil(report):
        report["method"] = {"name": "no-such-method", "paper": "<b>"}
        report["anchors"]["by_class"] = {"<b>": "many"}
        report["warnings"] = [None, 5]

    edit(copy / "salt_report.json", spoil)
    found = quick(copy)
    assert "no-such-method" in found.facts.left_out["donor"]
    assert "<b>" not in found.page.read_text(encoding="utf-8").partition("<main>")[2]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"text": "new.txt"}, "text is 'new.txt', expected a list of files"),
        ({"text": ["absent.txt"]}, "text absent.txt cannot be read"),
        ({"source_text": ["absent.txt"]}, "text absent.txt cannot be read"),
        ({"max_bytes": 0}, "max_bytes is 0"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"source": "/nowhere"}, "source: there is no folder /nowhere"),
    ],
)
def test_options_that_cannot_be(options, says, moved, tmp_path):
    with pytest.raises(InputError, match=says):
        quick(moved, page=tmp_path / "page.html", **options)
    assert not list(tmp_path.iterdir())


def test_an_empty_text(moved, tmp_path):
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(InputError, match="holds no text"):
        quick(moved, page=tmp_path / "page.html", text=[tmp_path / "empty.txt"])


def test_the_page_is_no_input(moved, tmp_path, text):
    with pytest.raises(OutputError, match="is read for this"):
        quick(moved, page=text, text=[text], force=True)
    with pytest.raises(OutputError, match="is read for this"):
        quick(moved, page=moved / "config.json", force=True)
    with pytest.raises(OutputError, match="there is no folder"):
        quick(moved, page=tmp_path / "absent" / "page.html")


def test_without_jinja_the_extra_is_named(moved, monkeypatch, tmp_path):
    monkeypatch.setattr("salt_ext.diagnosis.page.needs.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'salt-ext\[diagnose\]'"):
        quick(moved, page=tmp_path / "page.html")


def test_the_command_prints_the_verdict(moved, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert cli.run(["diagnose", str(moved), "-o", str(page), "--threads", "1"]) == 0
    printed = capsys.readouterr().out
    assert "Left-out anchors" in printed
    assert "left out, bits per byte: no --text is given" in printed
    assert printed.rstrip().endswith(str(page))
    assert page.exists()
