"""Every causal, sequence-to-sequence and image-text-to-text class of the installed transformers: what a transfer does.

    python python_tests/matrix/sweep/sweep.py [--only SUBSTRING] [--json FILE]

Prints a Markdown table of class, result and reason; see `move.py`. One process for a few classes, so that one that dies
or hangs takes no other with it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from shrink import classes

_AT_ONCE = 24
_SECONDS_EACH = 60


def sweep(names: list[str]) -> list[dict[str, str]]:
    """The results of some classes, "TYPE:CLASS" each."""
    rows: list[dict[str, str]] = []
    waiting = list(names)
    while waiting:
        batch = waiting[:_AT_ONCE]
        done, current, end = _process(batch)
        rows += done
        if current is not None:
            rows.append({"class": current, "result": "wrong", "reason": end})
        finished = {row["class"] for row in rows}
        left = [name for name in waiting if name not in finished]
        if len(left) == len(waiting):
            raise RuntimeError(f"no class of {batch} was tried: {end}")
        waiting = left
    return rows


def _process(batch: list[str]) -> tuple[list[dict[str, str]], str | None, str]:
    """Finished rows, the class that the process ended in (if it did), and how it ended."""
    command = [sys.executable, str(Path(__file__).with_name("move.py")), *batch]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS_EACH * len(batch))
        output, how = ended.stdout, f"the process ended with {ended.returncode}: {ended.stderr[-300:]}"
    except subprocess.TimeoutExpired as error:
        output, how = (error.stdout or b"").decode(), "the process did not end"
    rows, current = [], None
    for line in output.splitlines():
        row = json.loads(line)
        if row["result"] == "started":
            current = row["class"]
        else:
            rows.append(row)
            current = None
    return rows, current, how


def table(rows: list[dict[str, str]]) -> str:
    """As Markdown, the counts below."""
    lines = ["| class | result | reason |", "|---|---|---|"]
    for row in rows:
        reason = " ".join(row["reason"].split()).replace("|", "\\|")
        lines.append(f"| {row['class']} | {row['result']} | {reason[:200]} |")
    counts = Counter(row["result"] for row in rows)
    return "\n".join([*lines, "", ", ".join(f"{count} {result}" for result, count in counts.most_common())])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a part of TYPE:CLASS")
    parser.add_argument("--json", type=Path, help="keep the rows")
    options = parser.parse_args()
    rows = sweep([f"{kind}:{cls}" for kind, cls in classes() if options.only in f"{kind}:{cls}"])
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    print(table(rows))
    return 1 if any(row["result"] == "wrong" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
