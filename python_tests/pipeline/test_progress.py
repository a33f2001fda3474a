"""Times of steps add up to the time that passed; who is told of them, and what a notebook shows."""

from __future__ import annotations

import io
import re
import sys
import time
from types import ModuleType, SimpleNamespace

import pytest
from huggingface_hub.utils.tqdm import are_progress_bars_disabled
from rich.console import Console

import salt_ext
from salt_ext.errors import InputError
from salt_ext.runtime.progress import Clock, terminal_bars, watched


def test_nested_steps_share_the_time():
    clock = Clock()
    begin = time.perf_counter()
    with clock.step("outer"):
        time.sleep(0.02)
        with clock.step("inner"):
            time.sleep(0.05)
            running = clock.seconds
        time.sleep(0.02)
    passed = time.perf_counter() - begin
    assert 0.04 <= running["inner"] + running["outer"] <= passed
    seconds = clock.seconds
    assert list(seconds) == ["outer", "inner"]
    assert seconds["inner"] >= 0.05
    assert 0.04 <= seconds["outer"] < passed - 0.045
    assert sum(seconds.values()) == pytest.approx(passed, abs=0.01)


def test_a_step_that_fails_is_timed_too():
    clock = Clock()
    with pytest.raises(KeyError), clock.step("one"):
        raise KeyError
    assert clock.seconds.keys() == {"one"}


def test_no_bars_without_a_terminal():
    with terminal_bars(Console(file=io.StringIO())) as progress:
        assert progress is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_rate_is_told_of_the_step_that_has_one():
    screen = Console(file=io.StringIO(), width=120)
    with terminal_bars(screen, always=True, rate="tokens") as show:
        show("read", 0, 0)
        for done in range(0, 1001, 100):
            time.sleep(0.002)
            show("train", done, 1000)
        show("read", 1, 1)
    read, train = screen.file.getvalue().splitlines()
    assert "tokens/s" not in read
    told = re.search(r"([0-9,]+) tokens/s", train)
    assert 1_000 < int(told[1].replace(",", "")) < 50_000


@pytest.mark.parametrize(
    ("progress", "terminal", "told"),
    [(None, False, False), (None, True, True), (False, True, False), (True, False, True), (True, True, True)],
)
def test_bars_where_a_person_looks_on(progress, terminal, told, monkeypatch):
    """Silence is silence of the hub's bars too, and only for so long."""
    stream = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    before = are_progress_bars_disabled()
    with watched(progress) as tell:
        assert (tell is not None) is told
        if tell is None:
            assert are_progress_bars_disabled()
        else:
            tell("a step", 1, 2)
    assert are_progress_bars_disabled() is before
    assert ("a step" in stream.getvalue()) is told


def test_a_function_is_told_and_nothing_is_drawn(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    calls = []
    with watched(lambda *call: calls.append(call)) as tell:
        clock = Clock(tell)
        with clock.step("work"):
            clock.advance(1, 3)
    assert calls == [("work", 0, 0), ("work", 1, 3), ("work", 1, 1)]
    assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrong", ["yes", 3, []])
def test_what_cannot_be_told(wrong):
    with pytest.raises(InputError, match=r"progress is .*expected a function, True, False or None"), watched(wrong):
        pass


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What IPython was asked to draw, in a process that works for a notebook."""
    drawn: list[str] = []

    class Handle:
        def update(self, shown: SimpleNamespace) -> None:
            drawn.append(shown.data)

    ipython, display = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    display.HTML = lambda data: SimpleNamespace(data=data)  # type: ignore[attr-defined]
    display.display = lambda shown, display_id: Handle()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return drawn


def test_a_notebook_draws_every_step(notebook, source, donor, tmp_path, capfd):
    result = salt_ext.transfer(source, donor, tmp_path / "out")
    for step in ("open the models", "make the new tokens&#x27; rows", "check the output"):
        assert step in notebook[-1]
    assert "100%" in notebook[-1]
    assert "NaN" not in notebook[-1]
    assert capfd.readouterr() == ("", "")
    assert f'<td style="text-align: left">{result.report["rows"]["copied"]:,}</td>' in result._repr_html_()


def test_a_notebook_is_not_flooded(notebook):
    with watched(None) as tell:
        assert tell is not None
        for number in range(1, 10_000):
            tell("<b>step</b>", number, 10_000)
    assert 2 <= len(notebook) < 50
    assert "&lt;b&gt;step" in notebook[-1]
    assert "9999" in notebook[-1]


def test_a_notebook_can_be_silent(notebook):
    with watched(False) as tell:
        assert tell is None
    assert notebook == []


def test_ipython_in_a_terminal_is_no_notebook(notebook, monkeypatch):
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: SimpleNamespace())
    with watched(None) as tell:
        assert tell is None
    assert notebook == []
