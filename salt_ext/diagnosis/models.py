"""The models that a transfer was made from, opened again: those that its report names, if they are still there.

What cannot be opened, or is no longer what the report has the hashes of, is left out with a reason; what the user names
and does not fit is an error. Of a report, which may come from anywhere, folders and files are taken, never a hub name:
nothing is downloaded that the user did not name, and no code runs on a report's word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from salt_ext.comparison.method_spec import MethodSpec
from salt_ext.diagnosis.subject import Subject
from salt_ext.errors import InputError
from salt_ext.files.digest import file_sha256
from salt_ext.files.paths import expanded
from salt_ext.methods import make_method
from salt_ext.methods.core.registry import method_class
from salt_ext.pair.pair import Model, Pair, PairOptions, match_pair, open_pair, open_source
from salt_ext.pair.tables import PairTables
from salt_ext.runtime.progress import Clock
from salt_ext.vectors import open_auxiliary
from salt_ext.vocab import Anchors

T = TypeVar("T")

# Their hashes say whether a folder is still what the report speaks of.
_TELLING = ("config.json", "tokenizer.json", "tokenizer.model")
_PAIR = ("vocabulary", "tokenizer", "token_map", "keep_markers", "embedding", "head", "donor_embedding")


@dataclass(frozen=True)
class Transferred:
    """All that a transfer was made from.

    Attributes:
        pair: source, donor and the new tokenizer.
        anchors: what the vocabularies share.
        tables: of the pair.
        method: with the options that it had.
        seed: of what was drawn.
    """

    pair: Pair
    anchors: Anchors
    tables: PairTables
    method: MethodSpec
    seed: int


@dataclass(frozen=True)
class Models:
    """What could be opened.

    Attributes:
        source: the source; None where it is missing.
        transferred: source, donor and method; None where one of them is missing.
        missing: for each that is missing, "source" or "donor", why.
    """

    source: Model | None
    transferred: Transferred | None
    missing: Mapping[str, str]


def open_models(
    subject: Subject, source: str | Path | None, donor: str | Path | None, *, trust_remote_code: bool, clock: Clock
) -> Models:
    """Opens source and donor.

    Args:
        subject: the moved model.
        source: its source; None for the folder that the report names.
        donor: its donor, likewise.
        trust_remote_code: whether Python code that comes with them may run.
        clock: notified of what is read.

    Raises:
        InputError: a model that the user names cannot be opened, or is not the one that the report has the hashes of.
    """
    places, missing = {}, {}
    for what, named in (("source", source), ("donor", donor)):
        try:
            places[what] = _place(subject.report, what, named)
        except InputError as error:
            if named is not None:
                raise
            missing[what] = str(error)
    if "source" in missing:
        return Models(None, None, missing)
    try:
        options = pair_options(subject.report["options"], trust_remote_code=trust_remote_code)
    except InputError as error:
        return Models(None, None, missing | {"source": str(error)})
    old = _attempt(lambda: open_source(places["source"], options), "source", source, missing)
    if old is None or not _fits("source", old.path, subject.report, source, missing):
        return Models(None, None, missing)
    if "donor" in missing:
        return Models(old, None, missing)
    found = _attempt(lambda: _transferred(subject, places, options, clock), "donor", donor, missing)
    if found is not None and not _fits("donor", found.pair.donor.path, subject.report, donor, missing):
        found = None
    return Models(old, found, missing)


def pair_options(given: Mapping[str, Any], *, trust_remote_code: bool) -> PairOptions:
    """What a report's options say of the two models and the new tokenizer.

    Raises:
        InputError: one is not what a report has, or names a tokenizer that is no longer there.
    """
    found = {name: given.get(name) for name in _PAIR}
    wrong = [name for name, value in found.items() if not isinstance(value, (str, bool, type(None)))]
    if wrong:
        raise InputError(f"the report's option {wrong[0]} is {found[wrong[0]]!r:.80}, expected a text")
    if isinstance(found["tokenizer"], str) and not expanded(found["tokenizer"]).exists():
        raise InputError(f"the new tokenizer was made from {found['tokenizer']}, which is not there")
    return PairOptions(**found, trust_remote_code=trust_remote_code)  # type: ignore[arg-type]


def method_of(report: Mapping[str, Any]) -> MethodSpec:
    """The method that a report names, with its options.

    Raises:
        InputError: there is no such method here, or it does not take these options.
    """
    choice = report.get("choice")
    if isinstance(choice, dict) and isinstance(choice.get("method"), str):
        return MethodSpec.of(choice["method"])
    name = report["method"]["name"]
    own = [option.name for option in fields(method_class(name))]  # type: ignore[arg-type]
    given = {option: report["options"][option] for option in own if report["options"].get(option) is not None}
    if strange := [option for option, value in given.items() if not isinstance(value, (str, int, float))]:
        raise InputError(f"the report's option {strange[0]} is {given[strange[0]]!r:.80}, expected a text or a number")
    return MethodSpec(name, make_method(name, given))


def _place(report: Mapping[str, Any], what: str, named: str | Path | None) -> str | Path:
    if named is not None:
        return named
    facts = report["inputs"][what]
    place = facts.get("folder") or facts.get("file")
    if not isinstance(place, str) or not expanded(place).exists():
        raise InputError(f"the report names {place!r}, which is not there; --{what} names its folder")
    return expanded(place)


def _attempt(opened: Callable[[], T], what: str, named: str | Path | None, missing: dict[str, str]) -> T | None:
    try:
        return opened()
    except InputError as error:
        if named is not None:
            raise
        missing[what] = str(error)
        return None


def _fits(what: str, path: Path, report: Mapping[str, Any], named: str | Path | None, missing: dict[str, str]) -> bool:
    """Whether a folder, or a tokenizer's file, has the hashes that the report has."""
    known = report["inputs"][what]["sha256"]
    files = [path / name for name in _TELLING] if path.is_dir() else [path]
    changed = [
        file.name for file in files if file.is_file() and file.name in known and file_sha256(file) != known[file.name]
    ]
    if not changed:
        return True
    sentence = f"{what}: {path} is not the {what} of this transfer: its {changed[0]} is another than the report's"
    if named is not None:
        raise InputError(sentence)
    missing[what] = sentence
    return False


def _transferred(subject: Subject, places: Mapping[str, str | Path], options: PairOptions, clock: Clock) -> Transferred:
    given = subject.report["options"]
    pair = open_pair(places["source"], places["donor"], options)
    if pair.target.vocabulary.tokens != subject.vocabulary.tokens:
        raise InputError("donor: with this donor the new tokenizer is not the one of the moved model")
    vectors = open_auxiliary(str(given.get("aux", "donor")))
    anchors = match_pair(pair, level=given.get("match", "exact"))
    seed = given.get("seed", 0)
    if not isinstance(seed, int):
        raise InputError(f"the report's option seed is {seed!r:.80}, expected a whole number")
    return Transferred(pair, anchors, PairTables(pair, vectors, clock), method_of(subject.report), seed)


def named_options(report: Mapping[str, Any]) -> str:
    """A method with its options in one line, for a person."""
    try:
        method = method_of(report)
    except InputError:
        return str(report["method"]["name"])
    given = report["options"]
    own = {option.name: given[option.name] for option in fields(method.method) if given.get(option.name) is not None}  # type: ignore[arg-type]
    return method.label + "".join(f", {name}={_shown(value)}" for name, value in own.items())


def _shown(value: object) -> str:
    """An option's value; of a file its name alone, since a page is shown to others."""
    return Path(value).name if isinstance(value, str) and "/" in value else str(value)
