"""Names and options of methods, and a method that another package brings."""

from __future__ import annotations

import io
import re
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import get_type_hints

import pytest
from rich.console import Console

from salt_ext.cli.methods import print_methods
from salt_ext.errors import InputError
from salt_ext.methods import make_method, method_class, method_names
from salt_ext.methods.core.registry import GROUP

README = Path(__file__).parents[2] / "salt_ext" / "methods" / "README.md"


def test_every_name_is_its_class_own():
    built_in = [name for name in method_names() if method_class(name).__module__.startswith("salt_ext.")]
    assert {"salt", "focus", "ofa", "wechsel", "clp", "omp", "interpolate", "subword", "global", "mean"} <= {*built_in}
    for name in built_in:
        assert method_class(name).info.name == name
        get_type_hints(method_class(name))


def test_options_as_the_command_line_gives_them():
    made = make_method("interpolate", {"k": "7", "metric": "cosine"})
    assert (made.k, made.metric, made.weights) == (7, "cosine", "least-squares")
    assert make_method("global", {"ridge": "0.5", "intercept": "yes"}) == make_method(
        "global", {"ridge": 0.5, "intercept": True}
    )
    assert make_method("ofa", {"vectors": "none"}).vectors is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("interpolate", {"metric": "l1"}, "option metric is 'l1', expected euclidean, cosine"),
        ("interpolate", {"k": "many"}, "option k is 'many', expected int"),
        (
            "ofa",
            {"kneighbours": "3"},
            "method ofa has no option 'kneighbours': it has neighbours, temperature, vectors",
        ),
        ("wechsel", {}, r"method wechsel has no source_vectors: pass --set source_vectors=VALUE; it needs .* both"),
        ("wechsel", {"source_vectors": "x"}, "method wechsel has no target_vectors: pass --set target_vectors=VALUE"),
        ("omb", {}, r"method is 'omb', expected one of .*; did you mean omp\?"),
    ],
)
def test_bad_options(name, options, message):
    with pytest.raises(InputError, match=message):
        make_method(name, options)


@pytest.fixture
def readme_method(tmp_path, monkeypatch) -> str:
    """README's example, installed as a package with nothing but its own files; the name that it has there."""
    section = README.read_text(encoding="utf-8").split("## A method of your own", 1)[1]
    code, setup = (re.search(rf"```{kind}\n(.*?)```", section, re.DOTALL)[1] for kind in ("python", "toml"))
    assert len(code.splitlines()) + len(setup.splitlines()) <= 30
    declared, value = re.search(r'^(\w+) = "(\S+)"$', setup, re.MULTILINE).groups()
    (tmp_path / f"{value.split(':')[0]}.py").write_text(code, encoding="utf-8")
    info = tmp_path / "third_party-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: third-party\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{declared} = {value}\n[other]\nx = y:Z\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, value.split(":")[0], raising=False)
    return declared


def test_a_method_of_another_package(readme_method, world):
    assert readme_method in {point.name for point in entry_points(group=GROUP)}
    assert method_names()[-1] == readme_method
    made = make_method(readme_method)
    w = world(12, 5)
    rows = w.rows(made.combine(w.material()))
    # The source row of the anchor whose donor row is nearest by cosine.
    for new in range(13, 18):
        cosines = [w.donor[new] @ w.donor[key] / (w.donor[key] @ w.donor[key]) ** 0.5 for key in range(1, 13)]
        assert rows[new].tolist() == w.table[w.source_ids[cosines.index(max(cosines))]].tolist()


def test_the_list_tells_everything_of_it(readme_method):
    console = Console(width=100, record=True, file=io.StringIO())
    print_methods(console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 100
    assert readme_method in text
    assert "…" not in text
    for told in ("interpolate", "weights=least-squares", "source_vectors=?", "Dobler & de Melo 2023, EMNLP"):
        assert told in text


def test_a_broken_package_is_named(tmp_path, monkeypatch):
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nbroken = no_such_module:Method\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=r"method 'broken' of no_such_module:Method cannot be imported: No module"):
        make_method("broken")
