"""The ops on a GPU: the floor, the measured time, the gap, and PyTorch's time for the same on the same device.

    python python_tests/benchmarks/gpu.py [--rounds 5]          on a GPU
    python python_tests/benchmarks/gpu.py --floors-only         the floors of an H200, on a machine without one
    python python_tests/benchmarks/gpu.py --small --device cpu  a trial of this script

Times are medians of interleaved rounds: in every round each contender runs once, so that a change of clocks meets all
of them. Every line is printed as soon as it is known, and with --out FOLDER appended to FOLDER/benchmarks.md, so that
nothing is lost if the rest is cut off. Results are compared with the paper's letter in float64 on a sample first. A
miss of ours makes the exit status 1; one of PyTorch's version is a warning, since a key that float32 puts on the other
side of sparsemax's threshold moves a whole row.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import torch
from gpu_floors import H200, Ceilings, Pursuit, Stage, Tables, clustered, measured_ceilings, omp_stages, transfer_stages
from gpu_rivals import batched_transfer, literal_transfer, published_omp
from torch import Tensor

from salt_ext import backends, ops

WORKLOADS = {
    "W3": Tables(100_000, 30_000, 300, 768, 2048, torch.float32),
    "W4": Tables(250_000, 100_000, 300, 1024, 4096, torch.bfloat16),
}
SMALL = {
    "W3": Tables(900, 700, 50, 48, 64, torch.float32),
    "W4": Tables(1200, 900, 50, 64, 96, torch.bfloat16),
}
PURSUIT, SMALL_PURSUIT = Pursuit(20_000, 30_000, 768, 64), Pursuit(120, 400, 48, 8)
# What the project wants: seconds, bytes beside inputs and result, times faster than PyTorch.
LIMITS = {"W3": 0.05, "W4": 0.35}
EXTRA_MEMORY, SPEEDUP = 2 << 30, 20
SAMPLE = 200
# Relative error of a row against float64.
BOUNDS = {torch.float32: 1e-3, torch.bfloat16: 2e-2}


@dataclass(frozen=True)
class Figure:
    """One line of the table; what is not known is None."""

    name: str
    floor: float
    seconds: float
    target: str = ""
    rival: float | None = None
    memory: int | None = None


class Timer:
    """Seconds of functions on one device."""

    def __init__(self, device: torch.device, rounds: int) -> None:
        self.on_gpu, self.rounds = device.type == "cuda", rounds

    def once(self, function: Callable[[], object]) -> float:
        if not self.on_gpu:
            begin = time.perf_counter()
            function()
            return time.perf_counter() - begin
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        function()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3

    def interleaved(self, functions: dict[str, Callable[[], object]]) -> dict[str, float]:
        """The median of each; the first round warms up and does not count."""
        seconds: dict[str, list[float]] = {name: [] for name in functions}
        for _ in range(self.rounds + 1):
            for name, function in functions.items():
                seconds[name].append(self.once(function))
        return {name: median(times[1:]) for name, times in seconds.items()}

    def median(self, function: Callable[[], object]) -> float:
        return self.interleaved({"": function})[""]

    def extra_memory(self, function: Callable[[], Tensor]) -> int | None:
        """Bytes at the most beside what was there before and the result."""
        if not self.on_gpu:
            return None
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before - result.nbytes


def tables(sizes: Tables, device: torch.device) -> list[Tensor]:
    """aux_new, aux_shared, donor_new, donor_shared, source_shared."""
    generator = torch.Generator(device).manual_seed(0)

    def normal(rows: int, width: int) -> Tensor:
        return torch.randn(rows, width, generator=generator, device=device, dtype=sizes.dtype)

    aux = clustered(sizes.new + sizes.anchors, sizes.aux, generator)
    return [
        aux[: sizes.new],
        aux[sizes.new :],
        normal(sizes.new, sizes.donor),
        normal(sizes.anchors, sizes.donor),
        normal(sizes.anchors, sizes.source),
    ]


@dataclass
class Report:
    """Where lines go, the moment that they are known."""

    folder: Path | None
    misses: list[str] = field(default_factory=list)

    def line(self, text: str = "") -> None:
        print(text, flush=True)
        if self.folder is not None:
            with (self.folder / "benchmarks.md").open("a", encoding="utf-8") as file:
                file.write(text + "\n")

    def head(self, *columns: str) -> None:
        self.line()
        self.line(f"| {' | '.join(columns)} |")
        self.line("|" + "---|" * len(columns))

    def compare(self, what: str, found: Tensor, expected: Tensor, bound: float, *, ours: bool) -> None:
        """Says how far rows are off, and notes a miss of ours."""
        gap = (found.double() - expected.double()).norm(dim=1) / expected.double().norm(dim=1)
        beyond = int((gap > bound).sum())
        words = f"{what}: {beyond} of {len(gap)} rows differ from the paper's letter by more than {bound:.0e}"
        self.line(f"\n{'warning: ' if beyond else ''}{words}, the largest difference is {float(gap.max()):.1e}")
        if ours and beyond:
            self.misses.append(words)

    def figure(self, figure: Figure) -> None:
        rival, faster = "", ""
        if figure.rival is not None:
            rival, faster = f"{1e3 * figure.rival:.4g}", f"{figure.rival / figure.seconds:.1f} x"
        memory = "" if figure.memory is None else f"{figure.memory / 1e6:.0f}"
        times = f"{1e3 * figure.floor:.3g} | {1e3 * figure.seconds:.4g} | {figure.seconds / figure.floor:.2f} x"
        self.line(f"| {figure.name} | {times} | {figure.target} | {rival} | {faster} | {memory} |")


FIGURES = ("", "floor ms", "measured ms", "of the floor", "target", "PyTorch ms", "faster by", "extra memory MB")


def transfer_figures(
    report: Report, name: str, sizes: Tables, timer: Timer, ceilings: Ceilings, device: torch.device, *, rival: bool
) -> None:
    """The stages by themselves, `transfer`, and `transfer` beside its rival."""
    data = tables(sizes, device)
    aux_new, aux_shared, donor_new, donor_shared, source = data
    sample = literal_transfer(aux_new[:SAMPLE], aux_shared, donor_new[:SAMPLE], donor_shared, source)
    report.compare(name, ops.transfer(*data)[:SAMPLE], sample, BOUNDS[sizes.dtype], ours=True)
    crow, col, _ = ops.cosine_sparsemax(aux_new, aux_shared)
    weights = ops.lstsq_weights(crow, col, donor_new, donor_shared)
    seconds = timer.interleaved(
        {
            "cosine_sparsemax": lambda: ops.cosine_sparsemax(aux_new, aux_shared),
            "lstsq_weights": lambda: ops.lstsq_weights(crow, col, donor_new, donor_shared),
            "csr_matmul": lambda: ops.csr_matmul(crow, col, weights, source),
            "transfer": lambda: ops.transfer(*data),
        }
    )
    report.head(*FIGURES)
    floors = {stage.name: stage.seconds(ceilings) for stage in transfer_stages(sizes, crow.diff().cpu())}
    for stage, floor in floors.items():
        report.figure(Figure(f"{name} {stage}", floor, seconds[stage]))
    whole, target = sum(floors.values()), f"{1e3 * LIMITS[name]:.0f} ms"
    memory = timer.extra_memory(lambda: ops.transfer(*data))
    report.figure(Figure(f"{name} transfer", whole, seconds["transfer"], target, memory=memory))
    if rival:
        del crow, col, weights
        theirs = batched_transfer(*data)[:SAMPLE].clone()
        report.compare(f"{name}, PyTorch's version", theirs, sample, BOUNDS[sizes.dtype], ours=False)
        both = timer.interleaved({"ours": lambda: ops.transfer(*data), "theirs": lambda: batched_transfer(*data)})
        report.head(*FIGURES)
        report.figure(Figure(f"{name} transfer beside PyTorch", whole, both["ours"], target, both["theirs"]))


def omp_figures(report: Report, sizes: Pursuit, timer: Timer, ceilings: Ceilings, device: torch.device) -> None:
    generator = torch.Generator(device).manual_seed(0)
    both = clustered(sizes.queries + sizes.atoms, sizes.width, generator)
    queries, atoms = both[: sizes.queries], both[sizes.queries :]
    floor = sum(stage.seconds(ceilings) for stage in omp_stages(sizes))
    seconds = timer.median(lambda: ops.omp(queries, atoms, sizes.k))
    memory = timer.extra_memory(lambda: ops.omp(queries, atoms, sizes.k)[1])
    report.head(*FIGURES)
    report.figure(Figure("omp", floor, seconds, memory=memory))

    def left(chosen: Tensor, weights: Tensor) -> Tensor:
        fit = torch.einsum("qk,qkd->qd", weights[:SAMPLE].double(), atoms[chosen[:SAMPLE].clamp_min(0)].double())
        return (queries[:SAMPLE].double() - fit).norm(dim=1)

    ours, theirs = ops.omp(queries, atoms, sizes.k), published_omp(queries, atoms, sizes.k)
    same = float((ours[0].sort(dim=1).values == theirs[0].sort(dim=1).values).all(dim=1).double().mean())
    worst = float((left(*ours) / left(*theirs)).max())
    report.line(
        f"\n{'' if same > 0.9 and worst < 1.01 else 'warning: '}omp: {same:.1%} of the queries get the atoms "
        f"that the published version chooses; a residual is {worst:.4f} times its own at the most"
    )
    del ours, theirs
    rounds = timer.interleaved(
        {"ours": lambda: ops.omp(queries, atoms, sizes.k), "theirs": lambda: published_omp(queries, atoms, sizes.k)}
    )
    report.head(*FIGURES)
    report.figure(Figure("omp beside PyTorch", floor, rounds["ours"], f"{SPEEDUP} x PyTorch", rounds["theirs"]))


def supports_of_a_sample(sizes: Tables) -> Tensor:
    """Support sizes, on the CPU."""
    aux = clustered(2 * SAMPLE + sizes.anchors, sizes.aux, torch.Generator().manual_seed(0))
    return ops.cosine_sparsemax(aux[: 2 * SAMPLE], aux[2 * SAMPLE :])[0].diff()


def print_ceilings(report: Report, ceilings: Ceilings) -> None:
    rates = f"{ceilings.half / 1e12:.3g} float16 and {ceilings.double / 1e12:.3g} float64 TFLOP/s"
    report.line(f"{ceilings.name}: {ceilings.bandwidth / 1e12:.3g} TB/s, {rates}")


def print_floors(report: Report, workloads: dict[str, list[Stage]], ceilings: Ceilings) -> None:
    report.head("floor", "GB", "float16 TFLOP", "float64 TFLOP", "ms")
    for name, stages in workloads.items():
        for stage in stages:
            work = f"{stage.bytes / 1e9:.3g} | {stage.half / 1e12:.3g} | {stage.double / 1e12:.3g}"
            report.line(f"| {name} {stage.name} | {work} | {1e3 * stage.seconds(ceilings):.3g} |")
        if len(stages) > 1:
            total = sum(stage.seconds(ceilings) for stage in stages)
            report.line(f"| {name} in all | | | | {1e3 * total:.3g} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="sizes for a trial of this script")
    parser.add_argument("--floors-only", action="store_true", help="floors by the datasheet, nothing measured on a GPU")
    parser.add_argument("--out", type=Path, help="a folder for every line as well")
    options = parser.parse_args()
    workloads, pursuit = (SMALL, SMALL_PURSUIT) if options.small else (WORKLOADS, PURSUIT)
    if options.device == "cuda" and not options.floors_only and not backends()["cuda"].available:
        raise SystemExit(f"no GPU to measure: {backends()['cuda'].reason}; see --floors-only")
    device = torch.device("cpu" if options.floors_only else options.device)
    torch.set_default_device(device)
    timer = Timer(device, options.rounds)
    ceilings = H200 if options.floors_only else measured_ceilings(timer.median, small=options.small)
    report = Report(options.out)
    print_ceilings(report, ceilings)
    floors = {name: transfer_stages(sizes, supports_of_a_sample(sizes)) for name, sizes in workloads.items()}
    print_floors(report, {**floors, f"k = {pursuit.k},": omp_stages(pursuit)}, ceilings)
    if options.floors_only:
        return
    report.line(
        f"\nwanted: {SPEEDUP} x faster than PyTorch, under {EXTRA_MEMORY / 1e6:.0f} MB beside inputs and result"
    )
    for name, sizes in workloads.items():
        transfer_figures(report, name, sizes, timer, ceilings, device, rival=name == "W3")
        if timer.on_gpu:
            torch.cuda.empty_cache()
    omp_figures(report, pursuit, timer, ceilings, device)
    if report.misses:
        raise SystemExit(f"not what float64 gives: {'; '.join(report.misses)}")


if __name__ == "__main__":
    main()
