"""Methods on a real language model: bits per byte before training and after an equal short one, one command an arm.

    python arms.py SOURCE DONOR --text DOMAIN.txt... --train TEXT... --arm NAME -o results.csv [--methods "subword,..."]

Every text is a domain of its own. Rows are appended, so that the arms of one evidence lie in one file, each with the
commit, the day and the machine. `--steps 0` measures the start alone. Results are kept as they come in a folder beside
the file, with a picture at the end: an arm that was cut off goes on when the same command is given again.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
from datetime import date
from pathlib import Path

import salt_ext
from salt_ext.comparison.evaluator import TOKENS_PER_STEP
from salt_ext.runtime.machine import cpu_name, cpu_threads

METHODS = (
    "salt-plus,salt-plus:ridge=1,salt:prior=subword;ridge=3;similarity=mean,subword,global:intercept=true,focus,"
    "token-adapt,transplant-vocab,salt"
)
KEYS = ("bits_per_byte", "bits_per_byte_adapted", "held_out_cosine", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("donor", type=Path)
    parser.add_argument("--arm", required=True, help="what to call it")
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="measured on")
    parser.add_argument("--train", type=Path, nargs="+", default=[], help="trained on, in steps of 4,096 tokens")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--max-bytes", type=int, default=5000, help="of each text")
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("-o", "--output", type=Path, required=True)
    chosen = parser.parse_args()
    with cpu_threads(chosen.threads):
        made = salt_ext.compare(
            chosen.source,
            chosen.donor,
            chosen.methods,
            text=chosen.text,
            adapt=chosen.steps * TOKENS_PER_STEP if chosen.train else 0,
            adapt_text=chosen.train if chosen.steps else (),
            lr=chosen.lr,
            seeds=chosen.seeds,
            max_bytes=chosen.max_bytes,
            output=chosen.output.with_suffix("") / chosen.arm.replace(" ", "-"),
            log=lambda sentence: print(sentence, flush=True),
        )
    print(made.csv())
    append(chosen.output, chosen.arm, made)


def append(file: Path, arm: str, made: salt_ext.Comparison) -> None:
    here = Path(__file__).parent
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True).stdout
    common = [arm, made.facts["anchors"], made.facts["new_tokens"], made.facts["text"]["bytes"], made.facts["dtype"]]
    origin = [commit.strip(), date.today().isoformat(), cpu_name()]
    there = file.exists()
    with file.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if not there:
            names = [name for key in KEYS for name in (key, f"{key}_std")]
            head = [
                "arm",
                "anchors",
                "new_tokens",
                "text_bytes",
                "dtype",
                "method",
                *names,
                "commit",
                "date",
                "machine",
            ]
            writer.writerow(head)
        for row in made.rows:
            writer.writerow([*common, row.method, *(f(key) for key in KEYS for f in (row.mean, row.std)), *origin])
        own = [made.source_bits_per_byte, *[None] * (2 * len(KEYS) - 1)]
        writer.writerow([*common, "the source with its own tokenizer", *own, *origin])


if __name__ == "__main__":
    main()
