"""CSV, JSON, the table and the picture of a comparison made by hand."""

from __future__ import annotations

import builtins
import csv
import io
import json
import statistics

import pytest
from rich.console import Console

from salt_ext.cli.compare import print_comparison
from salt_ext.comparison import plot as picture
from salt_ext.comparison.result import Comparison, Row, make_folder
from salt_ext.errors import OutputError

FACTS = {
    "anchors": 2333,
    "new_tokens": 5667,
    "seeds": [0, 1, 2],
    "text": {"bytes": 1000},
    "adaptation": {"tokens": 8192},
    "seconds_in_all": 3.5,
}
SALT = (2.125, 2.25, 2.5)


def comparison(*, seeds: int = 3, adapted: bool = True) -> Comparison:
    def row(name: str, offset: float, *, memory: bool = True) -> Row:
        figures = {
            "seconds": (1.0, 2.0, 3.0),
            "memory_bytes": (25e6,) * 3,
            "held_out_cosine": (0.25 - offset, 0.5, 0.75),
            "reciprocal_rank": (0.125,) * 3,
            "norm_ratio": (0.5,) * 3,
            "bits_per_byte": tuple(figure + offset for figure in SALT),
            "bits_per_byte_adapted": (2 + offset,) * 3,
        }
        if not adapted:
            del figures["bits_per_byte_adapted"]
        if not memory:
            del figures["memory_bytes"]
        return Row(name, {key: of[:seeds] for key, of in figures.items()})

    rows = (row('salt:a=1;b="x,y"', 0), row("[bold]", 0.125, memory=False), row("mean", 0.25), row("random", 0.5))
    facts = FACTS | {"seeds": list(range(seeds)), "adaptation": FACTS["adaptation"] if adapted else None}
    return Comparison(rows, 2.6, facts, ("one [sentence]",))


def test_csv_reads_back():
    lines = list(csv.DictReader(io.StringIO(comparison().csv())))
    assert [line["method"] for line in lines] == ['salt:a=1;b="x,y"', "[bold]", "mean", "random"]
    assert float(lines[0]["bits_per_byte"]) == statistics.fmean(SALT)
    assert float(lines[0]["bits_per_byte_std"]) == statistics.stdev(SALT)
    assert lines[1]["memory_bytes"] == ""
    single = list(csv.DictReader(io.StringIO(comparison(seeds=1, adapted=False).csv())))
    assert single[0]["bits_per_byte_std"] == ""
    assert "bits_per_byte_adapted" not in single[0]


def test_files(tmp_path):
    made = comparison()
    made.write(tmp_path / "a" / "b")
    folder = tmp_path / "a" / "b"
    assert (folder / "table.csv").read_text() == made.csv()
    stored = json.loads((folder / "table.json").read_text())
    assert stored["methods"][0]["by_seed"]["bits_per_byte"] == list(SALT)
    assert stored["methods"][0]["std"]["bits_per_byte"] == statistics.stdev(SALT)
    assert stored["source_bits_per_byte"] == 2.6
    assert stored["anchors"] == 2333
    assert stored["warnings"] == ["one [sentence]"]


def test_only_a_comparison_is_replaced(tmp_path):
    made = comparison()
    made.write(tmp_path)
    (tmp_path / "notes.txt").write_text("kept")
    made.write(tmp_path)
    (tmp_path / "table.json").unlink()
    (tmp_path / "table.csv").write_text("precious")
    with pytest.raises(OutputError, match=r"table.csv exists and is no comparison's; choose another folder"):
        made.write(tmp_path)
    for other in ("[]", "{", '{"methods": []}'):
        (tmp_path / "table.json").write_text(other)
        with pytest.raises(OutputError, match=r"is no comparison's"):
            make_folder(tmp_path)
    assert (tmp_path / "table.csv").read_text() == "precious"
    assert (tmp_path / "notes.txt").read_text() == "kept"


def test_a_text_is_not_replaced_by_its_own_comparison(tmp_path):
    comparison().write(tmp_path)
    make_folder(tmp_path, inputs=[tmp_path / "notes.txt"])
    with pytest.raises(OutputError, match=r"table.csv is read for this"):
        make_folder(tmp_path, inputs=[tmp_path / "table.csv"])


def test_a_result_is_not_written_through_a_link(tmp_path):
    made, folder = comparison(), tmp_path / "out"
    made.write(folder)
    for name in ("table.csv", "table.json"):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
    before = (tmp_path / "table.csv").read_text()
    comparison(seeds=1).write(folder)
    assert (tmp_path / "table.csv").read_text() == before
    assert (folder / "table.csv").read_text() != before


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be made"):
        comparison().write(tmp_path / "file" / "out")


def test_terminal():
    out = io.StringIO()
    print_comparison(comparison(), Console(file=out, width=200))
    printed = out.getvalue()
    for text in (
        "2.292 ± 0.191",
        "25 ± 0",
        "[bold]",
        "one [sentence]",
        "3 seeds",
        "8,192 tokens",
        "2.600 bits per byte",
    ):
        assert text in printed
    out = io.StringIO()
    print_comparison(comparison(seeds=1, adapted=False), Console(file=out, width=200))
    assert "±" not in out.getvalue()
    assert "adapted" not in out.getvalue()


@pytest.mark.parametrize("adapted", [False, True])
def test_picture_shows_every_figure(tmp_path, monkeypatch, adapted):
    figures = pytest.importorskip("matplotlib.figure", reason="the picture needs matplotlib")
    saved = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda figure, *args, **more: saved.append(figure))
    made = comparison(adapted=adapted)
    picture.draw(made, tmp_path / "picture.png")
    left, right = saved[0].axes
    keys = ["bits_per_byte", "bits_per_byte_adapted"][: 1 + adapted]
    assert [text.get_text() for text in left.texts] == [f"{row.mean(key):.3f}" for key in keys for row in made.rows]
    assert [text.get_text() for text in right.texts] == [f"{row.mean('held_out_cosine'):.3f}" for row in made.rows]
    low, high = left.get_xlim()
    for text in left.texts:
        assert low < text.xy[0] < high
    assert [label.get_text() for label in left.get_yticklabels()] == [row.method for row in made.rows]


def test_picture_is_a_png_of_some_size(tmp_path):
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    comparison().write(tmp_path)
    data = (tmp_path / "picture.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert int.from_bytes(data[16:20], "big") > 1000


def test_without_matplotlib_the_numbers_are_written(tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name: str, *args: object, **more: object) -> object:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.setattr(picture, "find_spec", lambda name: None)
    comparison().write(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["table.csv", "table.json"]
