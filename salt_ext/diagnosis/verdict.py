"""The verdict: a word, and its reasons. Each threshold is a control's figure or an anchor's, and is said with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from salt_ext.diagnosis.facts import Facts

Level = Literal["good", "look", "bad", "unknown"]
_ORDER: tuple[Level, ...] = ("bad", "look", "unknown", "good")
# Two standard errors: chance alone is beyond them once in twenty times.
_ERRORS = 2.0
# Of the way from the mean row's cost to the source's own.
_CLOSED = 0.25
# Of what new tokens, or anchors, have in the text: less is said of them than this share of it.
_HALF, _FIFTH = 0.5, 0.2
# A token is said too often that is beyond its share by so many times what the worst anchor is, by 2 % at least; a tenth
# of all that a model says is too much whatever the anchors do.
_TIMES, _LEAST_LOUD, _DEAFENING = 5.0, 0.02, 0.1
_OUTSIDE = 0.1  # of the new rows, where 1 % of the anchors are
_CUT = 0.1
_LEANING = 0.05


@dataclass(frozen=True)
class Reason:
    """One check.

    Attributes:
        level: what it says: "good", "look", "bad", or "unknown" where it could not be made.
        title: what was checked, a few words.
        finding: what was found, a sentence with figures.
        threshold: what is asked for, and where that comes from.
        section: of the page, where the figures stand.
    """

    level: Level
    title: str
    finding: str
    threshold: str
    section: str


@dataclass(frozen=True)
class Verdict:
    """The verdict.

    Attributes:
        word: "good", "look" or "bad": the worst level of its reasons.
        headline: the same as a sentence.
        reasons: the worst first.
    """

    word: Literal["good", "look", "bad"]
    headline: str
    reasons: tuple[Reason, ...]


def judge(facts: Facts) -> Verdict:
    """Makes every check that the facts allow."""
    checks: tuple[Callable[[Facts], Iterator[Reason]], ...] = (
        _cost, _said, _loudest, _rebuilt, _start, _far, _donor, _numbers, _untrained, _trained
    )  # fmt: skip
    reasons = [reason for check in checks for reason in check(facts)]
    reasons.sort(key=lambda reason: _ORDER.index(reason.level))
    bad, look = (sum(reason.level == level for reason in reasons) for level in ("bad", "look"))
    measured = facts.cost is not None
    if bad:
        return Verdict("bad", "A bad start: change the method or the donor before you train it.", tuple(reasons))
    start = "A good start" if measured else "Nothing speaks against this start, but it was not measured: give --text"
    if look:
        things = "one thing" if look == 1 else f"{look} things"
        return Verdict("look", f"{start}. Look at {things} before you train it.", tuple(reasons))
    return Verdict("good", f"{start}.", tuple(reasons))


def _cost(facts: Facts) -> Iterator[Reason]:
    title, asked, section = "Cost of the text", "less than with the mean row in place of every new row", "cost"
    cost = facts.cost
    if cost is None or cost.mean_rows is None:
        why = facts.left_out.get("bits per byte", "no text in the new language")
        yield Reason("unknown", title, f"Not measured: {why}.", asked, section)
        return
    found = f"{cost.moved:.2f} bits per byte; with mean rows {cost.mean_rows:.2f}"
    if cost.source is None:
        yield Reason("good" if cost.moved < cost.mean_rows else "bad", title, f"{found}.", asked, section)
        return
    found += f", the source with its own tokenizer {cost.source:.2f}"
    gap = cost.mean_rows - cost.source
    closed = (cost.mean_rows - cost.moved) / gap if gap > 0 else None
    level: Level = "good"
    way = ""  # where the source itself is worse at the language than mean rows, it is no measure
    if cost.moved >= cost.mean_rows:
        level, way = "bad", ": no better than rows that know nothing"
    elif closed is not None:
        level, way = "look" if closed < _CLOSED else "good", f": {closed:.0%} of the way from mean rows to the source"
    yield Reason(level, title, f"{found}{way}.", f"{asked}; a quarter of the way to the source's own cost", section)
    if cost.altered:
        finding = f"The new tokenizer changes {cost.altered} lines of the text: its figures are too good."
        yield Reason("look", "Text is lost", finding, "every line comes back as it was", section)


def _said(facts: Facts) -> Iterator[Reason]:
    states = facts.states
    if states is None or not 0 < states.true_new < 1:
        return
    shares = (states.said_new / states.true_new, (1 - states.said_new) / (1 - states.true_new))
    level: Level = "bad" if min(shares) < _FIFTH else "look" if min(shares) < _HALF else "good"
    finding = f"New tokens get {states.said_new:.0%} of the probability, and are {states.true_new:.0%} of the text."
    asked = "new tokens and anchors each get at least half of their share in the text (a fifth: bad)"
    yield Reason(level, "Balance of new tokens and anchors", finding, asked, "head")


def _loudest(facts: Facts) -> Iterator[Reason]:
    states = facts.states
    if states is None:
        return
    limit = max(_TIMES * states.anchor_excess, _LEAST_LOUD)
    loud = [entry for entry in states.said_too_often if entry[2] - entry[3] > limit]
    asked = f"no new token beyond its share in the text by {limit:.1%}, five times what the worst anchor is (10%: bad)"
    if not loud:
        yield Reason("good", "Tokens said too often", "None stands out.", asked, "head")
        return
    _, token, said, true = loud[0]
    finding = f"“{token.strip()}” gets {said:.1%} of all probability, and is {true:.1%} of the text"
    more = f"; {len(loud) - 1} more like it." if len(loud) > 1 else "."
    level: Level = "bad" if said - true > _DEAFENING else "look"
    yield Reason(level, "Tokens said too often", finding + more, asked, "head")


def _rebuilt(facts: Facts) -> Iterator[Reason]:
    title, asked = "Left-out anchors", "a cosine above the matched-norm random control's by two standard errors"
    found = facts.held_out
    if found is None:
        why = facts.left_out.get("left-out anchors", "source or donor is missing")
        yield Reason("unknown", title, f"Not checked: {why}.", asked, "held-out")
        return
    every = found.all
    margin = _ERRORS * (every.error**2 + every.random_error**2) ** 0.5
    level: Level = "good" if every.cosine > every.random + margin else "bad"
    finding = f"{every.tokens} known rows rebuilt at cosine {every.cosine:.3f}; random control {every.random:.3f}"
    ending = "." if level == "good" else ": the method finds nothing out about a token."
    yield Reason(level, title, finding + ending, f"{asked} ({every.random + margin:.3f})", "held-out")


def _start(facts: Facts) -> Iterator[Reason]:
    measured = facts.cost is not None
    for sentence in facts.start_warnings:
        sentence = sentence[0].upper() + sentence[1:] + "."
        asked = "weights and norms as of methods that start well on real models"
        yield Reason("look" if measured else "bad", "A sign of a bad start", sentence, asked, "rows")


def _far(facts: Facts) -> Iterator[Reason]:
    if facts.map is None:
        return
    outside = facts.map.outside
    finding = f"{outside:.1%} of the new rows are farther from the anchors' centre than 99% of the anchors."
    asked = "at most 10% (1% of the anchors are)"
    yield Reason("look" if outside > _OUTSIDE else "good", "New rows among the anchors", finding, asked, "map")


def _donor(facts: Facts) -> Iterator[Reason]:
    asked = "no token that is unremarkable in the donor and outsized here"
    if facts.audit is None:
        yield Reason("unknown", "Audit of the donor", "Not made: the donor's table is missing.", asked, "audit")
    elif not facts.audit.count:
        finding = f"None of {facts.audit.looked_at:,} new tokens is unremarkable in the donor and outsized here."
        yield Reason("good", "Audit of the donor", finding, asked, "audit")
    else:
        names = ", ".join(f"“{each.token.strip()}”" for each in facts.audit.suspects[:3])
        finding = f"{facts.audit.count} tokens look harmless in the donor and are outsized here: {names}"
        yield Reason("look", "Audit of the donor", finding + ".", asked, "audit")


def _numbers(facts: Facts) -> Iterator[Reason]:
    if facts.cuts is None:
        return
    asked = "at most a tenth of them: what the source cuts otherwise has to be learnt anew, and arithmetic with it"
    differ = [each.differ for each in facts.cuts.lengths if 2 <= each.digits <= 4]
    mean = sum(differ) / len(differ)
    finding = f"{mean:.0%} of numbers of 2 to 4 digits are cut at other places than by the source's tokenizer."
    yield Reason("look" if mean > _CUT else "good", "Numbers", finding, asked, "cuts")


def _untrained(facts: Facts) -> Iterator[Reason]:
    found = facts.undertrained
    if found is None:
        return
    share = found.leaning / max(1, found.made)
    finding = (
        f"{found.count} of {found.anchors:,} copied rows look untrained in the source, {found.text} of them text; "
        f"{share:.1%} of the new rows lean on such."
    )
    asked = "at most 5% of the new rows with a quarter of their weights on untrained rows"
    yield Reason("look" if share > _LEANING else "good", "Undertrained anchors", finding, asked, "undertrained")


def _trained(facts: Facts) -> Iterator[Reason]:
    for training in facts.trainings:
        for series in training.bits:
            text = "The source's language" if series.label.startswith("source") else "The text"
            worse = series.after > series.before
            level: Level = "look" if worse else "good"
            title = f"{training.name}: {series.label.replace('_', ' ')}"
            finding = f"{text} went from {series.before:.3f} to {series.after:.3f} bits per byte."
            yield Reason(level, title, finding, "not more than before", "trainings")
