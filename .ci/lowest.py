"""Prints the lowest version that pyproject.toml allows of every dependency, as requirements that pip can install.

python .ci/lowest.py [EXTRA...] >lowest.txt && pip install -r lowest.txt. Needs Python 3.11.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import tomllib

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)[><=]=(?P<version>[\w.]+)(,.*)?")


def lowest(extras: list[str]) -> Iterator[str]:
    """One `name==version` for each dependency of the project and of these extras.

    Raises:
        SystemExit: a dependency does not say its lowest version first, so that nobody can know whether it works.
    """
    project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text(encoding="utf-8"))["project"]
    for required in sum((project["optional-dependencies"][extra] for extra in extras), project["dependencies"]):
        match = _REQUIREMENT.fullmatch(required)
        if match is None:
            raise SystemExit(f"pyproject.toml: {required!r} names no lowest version, expected NAME>=VERSION")
        yield f"{match['name']}=={match['version']}"


if __name__ == "__main__":
    print(*dict.fromkeys(lowest(sys.argv[1:])), sep="\n")
