"""All that a page shows, as one object of plain numbers and strings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from salt_ext.diagnosis.cuts import Cuts
from salt_ext.diagnosis.donor_audit import Audit
from salt_ext.diagnosis.held_out import HeldOut
from salt_ext.diagnosis.projection import Map
from salt_ext.diagnosis.rows import Rows
from salt_ext.diagnosis.states import States
from salt_ext.diagnosis.text_cost import Cost
from salt_ext.diagnosis.token_table import TokenTable
from salt_ext.diagnosis.trainings import Training
from salt_ext.diagnosis.undertrained import Undertrained


@dataclass(frozen=True)
class Facts:
    """The facts; None where something was left out, and `left_out` says why.

    Attributes:
        model: name of the moved model's folder.
        method: with its options.
        paper: where the method comes from.
        source: the source's name, without its path.
        donor: the donor's.
        finished: when the transfer was.
        texts: files that were measured on.
        anchors: how many there are of each kind.
        warnings: of the transfer.
        start_warnings: what plan and norms say of the start.
        left_out: parts of the page that are missing, and why.
        rows: the new rows in numbers.
        map: the new rows among the anchors.
        held_out: anchors that were left out and made anew.
        undertrained: anchors whose row looks untrained.
        cuts: digits and white space.
        audit: of the donor.
        cost: bits per byte of the text in the new language.
        source_cost: of the text in the source's language.
        states: the moved model beside its source.
        trainings: distillation and adaptation.
        tokens: every token with its sources.
    """

    model: str
    method: str
    paper: str
    source: str
    donor: str
    finished: str
    texts: tuple[str, ...]
    anchors: Mapping[str, int]
    warnings: tuple[str, ...]
    start_warnings: tuple[str, ...]
    left_out: Mapping[str, str]
    rows: Rows
    map: Map | None
    held_out: HeldOut | None
    undertrained: Undertrained | None
    cuts: Cuts | None
    audit: Audit | None
    cost: Cost | None
    source_cost: Cost | None
    states: States | None
    trainings: tuple[Training, ...]
    tokens: TokenTable

    def as_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)
