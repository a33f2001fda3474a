"""Bits per byte of real models at once and after an equal adaptation: random, mean and SALT rows.

    python python_tests/benchmarks/quality.py --source MODEL --donor MODEL --aux fasttext:FILE.bin --text FILE... \
        [--train FILE... --steps N]

Text files hold one document a line. Source and donor with their own tokenizers stand below for comparison. Prints a
Markdown table; --json FILE keeps the figures with all that is needed to repeat them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from salt_ext.checkpoint import Checkpoint
from salt_ext.demo.arms import CONTROLS, SALT, Settings, control_plan, open_candidate, try_candidate, write_control
from salt_ext.demo.table import markdown_table
from salt_ext.errors import InputError, SaltError
from salt_ext.pipeline import transfer


def main() -> int:
    options = _arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    settings = Settings(
        steps=options.steps,
        tokens_per_step=options.tokens_per_step,
        lr=options.lr,
        context=options.context,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    held_out = _lines(options.text, options.max_bytes)
    training = _lines(options.train, None) if options.steps else []
    source, donor = (
        Checkpoint.open(name, what=what).folder for name, what in ((options.source, "source"), (options.donor, "donor"))
    )
    with tempfile.TemporaryDirectory(prefix="salt-quality-", dir=options.scratch) as scratch:
        place = Path(scratch)
        made = transfer(
            source,
            donor,
            place / SALT,
            aux=options.aux,
            options={"temperature": options.temperature, "rcond": options.rcond, "ridge": options.ridge},
            match=options.match,
            seed=options.seed,
        )
        _note(f"rows: {made.report['rows']}")
        for name in CONTROLS:
            write_control(source, place / SALT, control_plan(made.plan, name), place / name)
        arms = []
        for name in (*CONTROLS, SALT):
            begun = time.perf_counter()
            candidate = open_candidate(name, place / name)
            arms.append(try_candidate(candidate, held_out=held_out, training=training, settings=settings))
            _note(f"{name}: {time.perf_counter() - begun:.0f} s")
    references = [
        try_candidate(
            open_candidate(f"{what} with its own tokenizer", folder),
            held_out=held_out,
            training=[],
            settings=replace(settings, steps=0),
        )
        for what, folder in (("source", source), *((("donor", donor),) if options.donor_is_causal else ()))
    ]
    adapted = f"after {settings.steps * settings.tokens_per_step:,} tokens" if settings.steps else None
    print(markdown_table(arms, references, adapted=adapted))
    if options.json:
        facts = {
            "arms": [arm.as_json() for arm in arms],
            "references": [reference.as_json() for reference in references],
            "options": {name: str(value) for name, value in vars(options).items()},
            "settings": asdict(settings),
            "report": made.report,
        }
        options.json.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True)
    parser.add_argument("--donor", required=True)
    parser.add_argument("--donor-is-causal", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--aux", default="donor")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--rcond", type=float)
    parser.add_argument("--ridge", type=float, default=0.0)
    parser.add_argument("--match", default="exact", choices=("exact", "case", "loose"))
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="held-out text")
    parser.add_argument("--max-bytes", type=int, default=60_000, help="of each held-out file, from its front")
    parser.add_argument("--train", type=Path, nargs="+", default=[], help="text to adapt on")
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--tokens-per-step", type=int, default=2048)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--scratch", type=Path, help="where three model folders have room")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.steps and not options.train:
        parser.error("--steps needs --train")
    return options


def _lines(files: list[Path], max_bytes: int | None) -> list[str]:
    lines = []
    for file in files:
        taken = 0
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file} cannot be read as UTF-8 text: {error}") from error
        for line in text.splitlines():
            if max_bytes is not None and taken >= max_bytes:
                break
            lines.append(line)
            taken += len(line.encode())
    return lines


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SaltError as error:
        sys.exit(f"quality.py: {error}")
