"""What the speed tests share: one thread, the floors of this machine, and a table of what was measured at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import floors
import pytest
import torch

ROWS = pytest.StashKey[list[tuple[str, float, float]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = []


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def floor_of() -> Callable[[str], float]:
    """The floor of a case on this class of machine; skips the test where there is none."""
    name, table = floors.machine_class(), floors.read()

    def look_up(case: str) -> float:
        known = table.get(name, {"cases": {}})["cases"]
        if case not in known:
            pytest.skip(f"floors.toml has no {case!r} for {name!r}: run refloor.py on such a machine")
        return float(known[case]["floor"])

    return look_up


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str, float, float], None]:
    """Puts a ratio and its floor into the table at the end."""
    return lambda case, ratio, floor: request.config.stash[ROWS].append((case, ratio, floor))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if rows := config.stash[ROWS]:
        terminalreporter.section(f"speed: time of the reference / time of the op ({floors.machine_class()})")
        for case, ratio, floor in rows:
            terminalreporter.line(f"{case:<48} {ratio:7.3f}   floor {floor:7.3f}   margin {ratio / floor - 1:+.0%}")
