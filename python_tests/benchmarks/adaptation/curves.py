"""Curves of continued training from several starts, on a real language model, at equal budgets.

    python curves.py SOURCE DONOR --text DOMAIN.valid.txt... --train DOMAIN.train.txt... --source-text ENGLISH.txt...
        -o results/german [--arms "salt-plus,subword,salt-plus + rows,salt-plus + distill"] [--tokens 16384]

An arm is a method, as `salt-ext compare` writes it, and what follows the transfer: all weights are trained; with
`+ rows` those of new tokens alone; with `+ distill` half of the tokens goes to `salt-ext distill` and the rest to
all weights. OUT/points.csv gets a line for each measured point, flushed, and OUT/runs.csv one when an arm is done: an
arm that was cut off is made anew when the same command is given again, those that are done are kept.

On a GPU the same at thirty times the size with three seeds, in one call (it has not run on a GPU):

    python curves.py ... --device cuda --tokens 491520 --tokens-per-step 8192 --train-bytes 12000000
        --max-bytes 20000 --seeds 3
"""

from __future__ import annotations

import argparse
import subprocess
from dataclasses import dataclass
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from points import Stopwatch, Table
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

import salt_ext
from salt_ext.comparison.slots import row_parameters
from salt_ext.evaluation.measuring import measure_stream
from salt_ext.evaluation.precision import fast_dtype
from salt_ext.evaluation.token_stream import TokenStream, token_stream
from salt_ext.evaluation.training import adapt_stream
from salt_ext.files.text_lines import read_lines
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.runtime.machine import cpu_name, cpu_threads
from salt_ext.runtime.progress import without_progress_bars

ARMS = "salt-plus,subword,focus,ofa,omp,salt,random,salt-plus + rows,salt-plus + distill"
SOURCE = "the source"
CONTEXT = 512
# Of an arm's tokens: where it is measured, and where on the source's language too, which costs as much again.
MEASURED = (1 / 8, 1 / 4, 1 / 2, 3 / 4, 1)
MEASURED_ON_SOURCE = (1 / 4, 1)
DISTILLED = 1 / 2
# A line that is shorter stands in many texts by chance.
SHORTEST_LINE = 20


@dataclass(frozen=True)
class Arm:
    """A start, and what is trained from it."""

    label: str
    method: str
    options: dict[str, str]
    follows: tuple[str, ...]

    @classmethod
    def of(cls, label: str) -> Arm:
        start, *follows = (part.strip() for part in label.split("+"))
        name, colon, written = start.partition(":")
        options = dict(pair.split("=") for pair in written.split(";")) if colon else {}
        if not set(follows) <= {"rows", "distill"}:
            raise SystemExit(f"arm {label!r}: expected METHOD, METHOD + rows, METHOD + distill")
        return cls(label, name, options, tuple(follows))


class Texts:
    """What is measured on, by domain, and what is trained on: lines that are measured on are left out of it."""

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        self.domains = {file.name.split(".")[0]: read_lines(file, max_bytes=chosen.max_bytes) for file in chosen.text}
        self.source = [line for file in chosen.source_text for line in read_lines(file, max_bytes=chosen.max_bytes)]
        held_out = {line.strip() for lines in self.domains.values() for line in lines if len(line) >= SHORTEST_LINE}
        self.lines: list[str] = []
        self.files: list[Path] = []
        for file in chosen.train:
            lines = [line for line in read_lines(file, max_bytes=chosen.train_bytes) if line.strip() not in held_out]
            self.files.append(folder / file.name)
            self.files[-1].write_text("\n".join(lines), encoding="utf-8")
            self.lines += lines


class Measure:
    """Bits per byte of one tokenizer's models: by domain, together, and in the source's language."""

    def __init__(self, texts: Texts, tokenizer: PreTrainedTokenizerBase, dtype: torch.dtype) -> None:
        self._streams = {name: token_stream(tokenizer, lines) for name, lines in texts.domains.items()}
        self._source = token_stream(tokenizer, texts.source)
        self._dtype = dtype

    def __call__(self, model: PreTrainedModel, *, on_source: bool) -> dict[str, float]:
        score = partial(measure_stream, model, context=CONTEXT, dtype=self._dtype)
        found = {name: score(stream) for name, stream in self._streams.items()}
        together = sum(each.bits for each in found.values()) / sum(each.bytes for each in found.values())
        figures = {"bits_per_byte": together} | {name: each.bits_per_byte for name, each in found.items()}
        return figures | ({"source_bits_per_byte": score(self._source).bits_per_byte} if on_source else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("donor", type=Path)
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="measured on, a domain each")
    parser.add_argument("--train", type=Path, nargs="+", required=True, help="trained on")
    parser.add_argument(
        "--source-text", type=Path, nargs="+", required=True, help="measured on, of the source's language"
    )
    parser.add_argument("--arms", default=ARMS)
    parser.add_argument("--tokens", type=int, default=16384, help="of each arm")
    parser.add_argument("--tokens-per-step", type=int, default=1024)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--max-bytes", type=int, default=1500, help="measured on, of each text")
    parser.add_argument("--train-bytes", type=int, default=1_000_000, help="trained on, of each text, from its front")
    parser.add_argument("--aux", default="donor", help="auxiliary vectors, as for salt-ext transfer")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True)
    chosen = parser.parse_args()
    arms = [Arm.of(label.strip()) for label in chosen.arms.split(",")]
    with cpu_threads(chosen.threads), without_progress_bars(), TemporaryDirectory() as folder:
        bench = Bench(chosen, Path(folder))
        bench.measure_source()
        for seed in range(chosen.seeds):
            for arm in arms:
                if not bench.table.is_done(arm.label, seed):
                    bench.run(arm, seed)


class Bench:
    """All arms of one source and donor."""

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        self.chosen, self.folder = chosen, folder
        self.device = torch.device(chosen.device)
        self.dtype = fast_dtype(self.device)
        self.texts = Texts(chosen, folder)
        self.table = Table(chosen.output, list(self.texts.domains))
        package = Path(salt_ext.__file__).resolve().parent
        log = ["git", "log", "-1", "--format=%h", "."]
        self.commit = subprocess.run(log, cwd=package, capture_output=True, text=True).stdout.strip()

    def measure_source(self) -> None:
        """The source with its own tokenizer: what no arm starts from."""
        if self.table.is_done(SOURCE, 0):
            return
        measure = Measure(self.texts, AutoTokenizer.from_pretrained(self.chosen.source), self.dtype)
        self.table.add(SOURCE, 0, 0, Stopwatch(), measure(self.open(self.chosen.source), on_source=True))
        self.table.done(SOURCE, 0, self.facts(tokens=0, start=Stopwatch()))

    def run(self, arm: Arm, seed: int) -> None:
        """Moves, trains and measures one arm."""
        chosen, table = self.chosen, self.table
        with TemporaryDirectory(dir=self.folder) as folder:
            place, making, learning = Path(folder) / "moved", Stopwatch(), Stopwatch()
            with making:
                made = salt_ext.transfer(
                    chosen.source,
                    chosen.donor,
                    place,
                    method=arm.method,
                    method_options=arm.options,
                    aux=chosen.aux,
                    seed=seed,
                    device=chosen.device,
                    progress=False,
                )
            tokenizer = AutoTokenizer.from_pretrained(place)
            stream = token_stream(tokenizer, self.texts.lines)
            measure = Measure(self.texts, tokenizer, self.dtype)
            model = self.open(place)
            table.add(arm.label, seed, 0, learning, measure(model, on_source=True))
            spent = 0
            if "distill" in arm.follows:
                spent = round(chosen.tokens * DISTILLED)
                place = self.distil(place, Path(folder) / "distilled", spent, seed, learning)
                model = self.open(place)
                table.add(arm.label, seed, spent, learning, measure(model, on_source=True))
            rows = _new_rows(made.plan) if "rows" in arm.follows else None
            self.train(model, stream, measure, arm, seed, spent, learning, rows)
        table.done(arm.label, seed, self.facts(tokens=chosen.tokens, start=making))

    def distil(self, moved: Path, output: Path, tokens: int, seed: int, learning: Stopwatch) -> Path:
        """`salt-ext distill`, of which the training alone is timed, as of all others."""

        def watch(step: str, *_: int) -> None:
            learning.run(step == "learn")

        salt_ext.distill(
            moved,
            output,
            teacher=self.chosen.source,
            text=self.texts.files,
            tokens=tokens,
            tokens_per_step=self.chosen.tokens_per_step,
            seed=seed,
            device=self.chosen.device,
            progress=watch,
        )
        learning.run(False)
        return output

    def train(
        self,
        model: PreTrainedModel,
        stream: TokenStream,
        measure: Measure,
        arm: Arm,
        seed: int,
        spent: int,
        learning: Stopwatch,
        rows: torch.Tensor | None,
    ) -> None:
        """The rest of an arm's tokens; updates are timed, measuring is not."""
        chosen = self.chosen
        steps = (chosen.tokens - spent) // chosen.tokens_per_step
        marks = {round(share * steps) for share in MEASURED}
        on_source = {round(share * steps) for share in MEASURED_ON_SOURCE}

        def after(step: int, _: int) -> None:
            learning.run(False)
            if step in marks:
                tokens = spent + step * chosen.tokens_per_step
                self.table.add(arm.label, seed, tokens, learning, measure(model, on_source=step in on_source))
            learning.run(step < steps)

        learning.run(True)
        adapt_stream(
            model,
            stream,
            steps=steps,
            tokens_per_step=chosen.tokens_per_step,
            lr=chosen.lr,
            seed=seed,
            context=CONTEXT,
            dtype=self.dtype,
            only_rows=None
            if rows is None
            else [(part, rows) for part in row_parameters(model, rows=int(rows.max()) + 1)],
            progress=after,
        )

    def open(self, folder: Path) -> PreTrainedModel:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return model.to(self.device)  # type: ignore[arg-type]

    def facts(self, *, tokens: int, start: Stopwatch) -> dict[str, Any]:
        """What an arm was made with, for its line in runs.csv."""
        chosen = self.chosen
        card = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else cpu_name()
        return {
            "tokens": tokens,
            "tokens_per_step": chosen.tokens_per_step,
            "lr": chosen.lr,
            "aux": chosen.aux,
            "transfer_seconds": round(start.seconds, 1),
            "text_bytes": sum(len(line.encode()) for lines in self.texts.domains.values() for line in lines),
            "source_text_bytes": sum(len(line.encode()) for line in self.texts.source),
            "dtype": str(self.dtype).removeprefix("torch."),
            "threads": torch.get_num_threads(),
            "torch": version("torch"),
            "transformers": version("transformers"),
            "commit": self.commit,
            "date": date.today().isoformat(),
            "machine": card,
        }


def _new_rows(plan: TransferPlan) -> torch.Tensor:
    """int64 [n], those that are neither copied nor padding."""
    return ((plan.provenance != Provenance.COPIED) & (plan.provenance != Provenance.PADDING)).nonzero()[:, 0]


if __name__ == "__main__":
    main()
