"""diagnose(): from the folder of a moved model to the facts and the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from salt_ext.diagnosis.cuts import compare_cuts
from salt_ext.diagnosis.donor_audit import audit_donor
from salt_ext.diagnosis.facts import Facts
from salt_ext.diagnosis.held_out import held_out
from salt_ext.diagnosis.models import Models, named_options, open_models
from salt_ext.diagnosis.on_text import measure_texts
from salt_ext.diagnosis.page.needs import require_jinja
from salt_ext.diagnosis.projection import draw_map
from salt_ext.diagnosis.rows import describe_rows, row_figures
from salt_ext.diagnosis.start import signs_of_the_start
from salt_ext.diagnosis.subject import Subject, open_subject
from salt_ext.diagnosis.text import Text, read_text
from salt_ext.diagnosis.token_table import make_token_table
from salt_ext.diagnosis.trainings import find_trainings
from salt_ext.diagnosis.undertrained import find_undertrained
from salt_ext.diagnosis.verdict import Verdict, judge
from salt_ext.errors import InputError
from salt_ext.files.output_file import check_output_file, write_anew
from salt_ext.files.paths import expanded
from salt_ext.pair.tokenizer_alone import TokenizerAlone
from salt_ext.runtime.device import AUTO, choose_device
from salt_ext.runtime.machine import cpu_threads
from salt_ext.runtime.progress import Clock, Watching, watched

T = TypeVar("T")


@dataclass(frozen=True)
class Diagnosis:
    """What a diagnosis found.

    Attributes:
        page: the HTML file.
        verdict: good, look or bad, with the reasons.
        facts: all figures of the page.
    """

    page: Path
    verdict: Verdict
    facts: Facts

    def as_json(self) -> dict[str, Any]:
        """Verdict and facts as JSON values."""
        return {"made_by": "salt-ext diagnose", "verdict": asdict(self.verdict), **self.facts.as_json()}


def diagnose(
    output: str | Path,
    *,
    page: str | Path | None = None,
    source: str | Path | None = None,
    donor: str | Path | None = None,
    text: Sequence[str | Path] = (),
    source_text: Sequence[str | Path] = (),
    max_bytes: int = 10_000,
    trust_remote_code: bool = False,
    device: str = AUTO,
    threads: int | None = None,
    force: bool = False,
    progress: Watching = None,
) -> Diagnosis:
    """Looks into a moved model, and writes what was found as one HTML file that needs no network.

    Args:
        output: the folder that `salt_ext.transfer` made, also behind a distillation or an adaptation.
        page: the file to write; None for the folder's name with `.html`, beside the folder.
        source: the source, a folder or a hub name; None for the folder that the report names. What needs it is left
            out where it is missing.
        donor: the donor, likewise.
        text: UTF-8 files in the new language, a document a line: bits per byte, states, frequencies.
        source_text: UTF-8 files in the source's language: what is left of it.
        max_bytes: models are measured on no more of each file, from its front.
        trust_remote_code: whether Python code that comes with the models may run.
        device: where the models run: "auto", "cpu", "cuda" or "cuda:N".
        threads: CPU threads; None for torch's own choice.
        force: replace an existing file.
        progress: see `salt_ext.transfer`.

    Raises:
        InputError: the folder is no output of a transfer or contradicts itself, a model that is named does not fit it,
            a text cannot be read, or jinja2 is not installed.
        OutputError: the file exists or cannot be written.
    """
    require_jinja()
    if max_bytes < 1:
        raise InputError(f"max_bytes is {max_bytes}, expected at least 1")
    runs_on = choose_device(device)
    new_text = read_text(text, "text", max_bytes=max_bytes)
    old_text = read_text(source_text, "source_text", max_bytes=max_bytes)
    folder = expanded(output).absolute()
    file = folder.with_name(f"{folder.name}.html") if page is None else expanded(page).absolute()
    inputs = [folder, *(Path(each) for each in (source, donor, *text, *source_text) if each is not None)]
    with cpu_threads(threads), watched(progress) as callback:
        clock = Clock(callback)
        subject = open_subject(output, trust_remote_code=trust_remote_code)
        check_output_file(file, what="the page", inputs=inputs, force=force)
        with clock.step("open the models"):
            models = open_models(subject, source, donor, trust_remote_code=trust_remote_code, clock=clock)
        job = _Job(subject, models, new_text, old_text, clock)
        facts = job.facts(runs_on, trust_remote_code)
        verdict = judge(facts)
        from salt_ext.diagnosis.page.render import render  # jinja2 may be missing, and is asked for above

        with clock.step("write the page"):
            write_anew(file, render(facts, verdict).encode("utf-8", "backslashreplace"), what="the page")
    return Diagnosis(file, verdict, facts)


class _Job:
    """The parts of a diagnosis, one after another; what cannot be found out is left out with its reason."""

    def __init__(
        self, subject: Subject, models: Models, text: Text | None, source_text: Text | None, clock: Clock
    ) -> None:
        self._subject, self._models, self._clock = subject, models, clock
        self._text, self._source_text = text, source_text
        self._figures = row_figures(subject)
        self._counts = None if text is None else text.counts(subject.tokenizer, subject.vocabulary.size)
        self._left_out = dict(models.missing)

    def facts(self, device: torch.device, trust_remote_code: bool) -> Facts:
        """Finds all of it; the models are run last, when the tables are given back."""
        subject, report = self._subject, self._subject.report
        of_pair = self._of_pair()
        measured = measure_texts(
            subject,
            self._models.source,
            self._text,
            self._source_text,
            device=device,
            trust_remote_code=trust_remote_code,
            clock=self._clock,
            left_out=self._left_out,
        )
        return Facts(
            model=subject.folder.name,
            method=named_options(report),
            paper=report["method"]["paper"],
            source=_name(subject, "source"),
            donor=_name(subject, "donor"),
            finished=report["finished"],
            texts=() if self._text is None else self._text.files,
            anchors={kind: count for kind, count in report["anchors"]["by_class"].items() if isinstance(count, int)},
            warnings=tuple(map(str, report["warnings"])),
            left_out=self._left_out,
            rows=describe_rows(subject, self._figures),
            map=draw_map(subject),
            cost=measured.new,
            source_cost=measured.old,
            states=measured.states,
            trainings=find_trainings(subject),
            tokens=make_token_table(subject, self._figures, self._counts),
            **of_pair,
        )

    def _of_pair(self) -> dict[str, Any]:
        """The parts for which source or donor are needed, but need not be run."""
        subject, transferred, source = self._subject, self._models.transferred, self._models.source
        rebuilt = donor = undertrained = cuts = start = None
        if transferred is not None:
            with self._clock.step("leave anchors out"):
                rebuilt = self._attempt("left-out anchors", lambda: held_out(transferred, self._counts))
            if not isinstance(transferred.pair.donor, TokenizerAlone):
                donor = self._attempt("audit of the donor", lambda: transferred.tables.donor)
        audit = None if donor is None else audit_donor(subject, donor, self._figures.l1)
        if source is not None:
            table = source.checkpoint.input_table()
            undertrained = self._attempt(
                "undertrained anchors", lambda: find_undertrained(subject, table, source.vocabulary, donor)
            )
            cuts = self._attempt("digits and white space", lambda: compare_cuts(subject, source.tokenizer))
            start = self._attempt("signs of the start", lambda: signs_of_the_start(subject, source, transferred))
        if transferred is not None:
            transferred.tables.close()
        return {
            "held_out": rebuilt,
            "audit": audit,
            "undertrained": undertrained,
            "cuts": cuts,
            "start_warnings": tuple(start or ()),
        }

    def _attempt(self, part: str, find: Callable[[], T]) -> T | None:
        try:
            return find()
        except InputError as error:
            self._left_out[part] = str(error)
            return None


def _name(subject: Subject, what: str) -> str:
    """What the user called a model; of a path the last part, since a page is shown to others."""
    return Path(subject.plan.metadata.get(what, "unknown")).name
