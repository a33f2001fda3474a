"""auto: what it takes without a text, what it tries on one, and what it does where nothing can be tried."""

from __future__ import annotations

import math
import time
from types import SimpleNamespace

import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy

import salt_ext
from salt_ext import cli
from salt_ext.choosing import Decision, Tried, deciding, read_sample
from salt_ext.choosing.trial import Trial
from salt_ext.comparison.body import Body
from salt_ext.errors import InputError
from salt_ext.measuring import StoppedError
from salt_ext.progress import Clock

from .conftest import ONLY_SOURCE, ONLY_TARGET, SHARED, text_of

pytestmark = pytest.mark.usefixtures("one_thread")

CANDIDATES = [
    "salt-plus",
    "mean",
    "subword",
    "salt-plus:pieces=length",
    "salt-plus:pieces=decayed",
    "salt-plus:ridge=1",
    "global:intercept=true",
    "focus",
]
# The source of these tests cuts the new language into pieces as small as Vietnamese's are for a real one.
RULED = "salt-plus:pieces=length"


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    file = tmp_path_factory.mktemp("auto") / "text.txt"
    file.write_text("\n".join(text_of(SHARED + ONLY_TARGET, 31, 9000)) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def made(source, donor, text, tmp_path_factory):
    return salt_ext.transfer(source, donor, tmp_path_factory.mktemp("auto") / "out", text=[text], device="cpu")


def test_without_a_text_the_rule_decides_by_what_is_there(source, donor, target_tokenizer, tmp_path):
    with_rows = salt_ext.transfer(source, donor, tmp_path / "a", device="cpu")
    assert with_rows.report["method"]["name"] == "salt-plus"
    assert with_rows.report["choice"]["method"] == "salt-plus"
    assert with_rows.report["choice"]["tried"] == []
    target_tokenizer.save_pretrained(tmp_path / "alone")
    alone = salt_ext.transfer(source, tmp_path / "alone", tmp_path / "b", device="cpu")
    assert alone.report["method"]["name"] == "subword"
    assert alone.plan.metadata["method"] == "subword"


def test_a_named_method_is_taken_as_it_is(source, donor, tmp_path):
    made = salt_ext.transfer(source, donor, tmp_path / "out", method="salt", device="cpu")
    assert made.report["method"]["name"] == "salt"
    assert made.report["choice"] is None


def test_on_a_text_every_candidate_is_told_and_the_best_is_taken(made):
    choice = made.report["choice"]
    assert sorted(each["method"] for each in choice["tried"]) == sorted(CANDIDATES)
    measured = {each["method"]: each for each in choice["tried"]}
    assert all(math.isfinite(each["bits_per_byte"]) for each in measured.values())
    trained = {name: each["trained"] for name, each in measured.items() if each["trained"] is not None}
    assert len(trained) >= 2
    assert choice["method"] == min(trained, key=lambda name: trained[name])
    assert choice["training"]["steps"] in (12, 25, 50)
    assert made.report["method"]["name"] == choice["method"].partition(":")[0]
    assert choice["text"]["bytes"] >= 15_000


def test_the_figures_are_those_of_the_moved_model(made, source, donor, text, tmp_path):
    """By transformers alone, on the lines that auto held out, windows and separators counted by hand."""
    lines = read_sample([text], seed=0).held_out
    folder = salt_ext.transfer(source, donor, tmp_path / "out", method="subword", device="cpu").output
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids, counted = [], []
    for line in lines:
        tokens = tokenizer(line, add_special_tokens=False)["input_ids"]
        ids += [tokenizer.bos_token_id, *tokens]
        counted += [False, *[True] * len(tokens)]
    bits = 0.0
    for begin in range(0, len(ids) - 1, 64):
        wanted = torch.tensor(ids[begin + 1 : begin + 65])
        logits = model(torch.tensor([ids[begin : begin + 64]])).logits[0, : len(wanted)].double()
        losses = cross_entropy(logits, wanted, reduction="none") / math.log(2)
        bits += float(losses.detach()[torch.tensor(counted[begin + 1 : begin + 65])].sum())
    found = next(each for each in made.report["choice"]["tried"] if each["method"] == "subword")["bits_per_byte"]
    assert found == pytest.approx(bits / sum(len(line.encode()) for line in lines), rel=0.01)


def test_what_is_measured_on_is_not_trained_on(text, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("one line\none line\n" + text.read_text(encoding="utf-8")[:2000], encoding="utf-8")
    sample = read_sample([text, other], seed=0)
    assert not set(sample.held_out) & set(sample.training)
    everything = sample.held_out + sample.training
    assert len(set(everything)) == len(everything)
    assert 20_000 <= sum(len(line.encode()) for line in sample.held_out) < 20_400


def test_without_time_the_rule_decides_on_a_text(source, donor, text, tmp_path):
    choice = salt_ext.transfer(source, donor, tmp_path / "out", text=[text], time_limit=0, device="cpu").report[
        "choice"
    ]
    assert (choice["method"], choice["tried"]) == (RULED, [])
    assert choice["text"]["bytes_per_token"] > 0


def no_kernel(*_arguments, **_options):
    raise RuntimeError("no kernel image")


@pytest.mark.parametrize(
    ("owner", "name", "value", "sentence"),
    [
        (deciding, "available_memory", lambda: 1000, "takes 0.0 GB to run, and 0.0 GB are free on cpu"),
        (Body, "measure", no_kernel, "RuntimeError: no kernel image"),
    ],
)
def test_a_source_that_cannot_be_run_leaves_it_to_the_rule(
    source, donor, text, tmp_path, monkeypatch, owner, name, value, sentence
):
    monkeypatch.setattr(owner, name, value)
    made = salt_ext.transfer(source, donor, tmp_path / "out", text=[text], device="cpu")
    assert made.report["method"]["name"] == "salt-plus"
    said = [warning for warning in made.report["warnings"] if "auto could not try methods" in warning]
    assert [sentence in warning for warning in said] == [True]


def test_an_encoder_decoder_leaves_it_to_the_rule(donor, text, source_tokenizer, tmp_path):
    config = transformers.T5Config(
        vocab_size=len(source_tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=1,
        num_heads=4,
        decoder_start_token_id=0,
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    source_tokenizer.save_pretrained(tmp_path / "t5")
    made = salt_ext.transfer(tmp_path / "t5", donor, tmp_path / "out", text=[text], device="cpu")
    assert any("source is an encoder-decoder (t5)" in warning for warning in made.report["warnings"])
    assert made.report["choice"]["method"] == RULED


def test_a_text_of_the_sources_language_is_warned_of(source, donor, text, tmp_path):
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("\n".join(text_of(SHARED + ONLY_SOURCE, 41, 3000)), encoding="utf-8")
    for file, warned in ((wrong, True), (text, False)):
        made = salt_ext.transfer(source, donor, tmp_path / "out", text=[file], time_limit=0, device="cpu", force=True)
        assert any("not in the language" in warning for warning in made.report["warnings"]) == warned


def test_mistakes_are_told_before_any_work(source, donor, text, tmp_path):
    def fails(sentence: str, **options: object) -> None:
        with pytest.raises(InputError, match=sentence):
            salt_ext.transfer(source, donor, tmp_path / "out", device="cpu", **options)
        assert not (tmp_path / "out").exists()

    fails("text is '.*text.txt', expected a list of files", text=str(text))
    fails("text .*missing.txt", text=[tmp_path / "missing.txt"])
    fails("method is 'auto', which chooses options, too: name the method that ridge is meant for", options={"ridge": 1})
    fails("text is given, which method 'auto' chooses by, but method is 'salt'", text=[text], method="salt")
    fails("time_limit is -1, expected seconds", text=[text], time_limit=-1)
    short = tmp_path / "short.txt"
    short.write_text("an en\nter lo\n", encoding="utf-8")
    fails("the part of it that is measured on has .* tokens, expected more than one window of 64", text=[short])


def test_the_command_takes_texts_and_tells_what_was_tried(source, donor, text, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert cli.run(["transfer", str(source), str(donor), "-o", out, "--text", str(text), "--time-limit", "3"]) == 0
    shown = capsys.readouterr().out
    assert "Tried on the text" in shown
    assert "global:intercept=true" in shown


class FakeBody:
    """Starts and ends by the name of the method; every call takes so many seconds."""

    def __init__(self, starts, ends, seconds=0.0):
        self.starts, self.ends, self.seconds = starts, ends, seconds
        self.trained: list[tuple[str, int]] = []

    def _take(self, stop):
        if stop():
            raise StoppedError
        time.sleep(self.seconds)

    def measure(self, plan, stream, *, stop):
        self._take(stop)
        return SimpleNamespace(bits_per_byte=self.starts[plan])

    def adapt_and_measure(self, plan, train, held, *, steps, stop, **_options):
        self._take(stop)
        self.trained.append((plan, steps))
        if isinstance(self.ends[plan], Exception):
            raise self.ends[plan]
        return SimpleNamespace(bits_per_byte=self.ends[plan])


def tried_by(body: FakeBody, seconds: float = 1e6, tokens: int = 5000):
    streams = SimpleNamespace(held_out=SimpleNamespace(ids=range(tokens)), training=object())
    trial = Trial(body, SimpleNamespace(seed=0), streams, 1, time.perf_counter() + seconds, Clock(), False)
    chosen = [SimpleNamespace(label=name, plan=lambda material, rows, name=name: (name, ())) for name in body.starts]
    return trial.run(chosen)


def test_gross_failures_are_not_trained_and_the_best_end_wins():
    starts = {"a": 2.0, "mean": 3.0, "b": 2.1, "bad": 3.1, "far": 2.4}
    body = FakeBody(starts, {"a": 1.9, "b": 1.8})
    tried = {each.method: each for each in tried_by(body)}
    assert next(iter(tried)) == "b"
    assert body.trained == [("a", 50), ("b", 50)]
    assert tried["bad"].note == "no better than the mean row"
    assert tried["far"].note == "far behind at once"
    assert [name for name, each in tried.items() if each.trained is None] == ["far", "mean", "bad"]


def test_when_the_time_is_over_what_is_known_is_kept():
    body = FakeBody({"a": 2.0, "mean": 3.0, "b": 1.9}, {}, seconds=0.2)
    tried = {each.method: each for each in tried_by(body, seconds=0.3)}
    assert (tried["a"].bits_per_byte, tried["mean"].bits_per_byte) == (2.0, 3.0)
    assert tried["b"].bits_per_byte is None
    assert tried["b"].note == "not tried: the time was over"
    assert body.trained == []


def test_steps_and_methods_are_as_many_as_the_time_allows(monkeypatch):
    """A token is taken to need 10 us, so that a step of 2,048 tokens, 3.5 passes, takes 0.0717 s."""
    starts, ends = {"a": 2.0, "mean": 3.0, "b": 2.01, "c": 2.02}, {"a": 1.9, "b": 1.8, "c": 1.7}
    now = [0.0]
    monkeypatch.setattr("salt_ext.choosing.trial.time.perf_counter", lambda: now[0])
    for seconds, trained in (
        (12.0, [("a", 50), ("b", 50), ("c", 50)]),
        (7.0, [("a", 25), ("b", 25), ("c", 25)]),
        (2.5, [("a", 12), ("b", 12)]),
        (1.0, []),
    ):
        body = FakeBody(starts, ends)
        monkeypatch.setattr(body, "_take", lambda stop: now.__setitem__(0, now[0] + 0.1))
        now[0] = 0.0
        tried_by(body, seconds=seconds, tokens=10_000)
        assert body.trained == trained


def test_figures_that_are_not_finite_decide_nothing():
    body = FakeBody({"nan": math.nan, "mean": 3.0, "a": 2.0, "b": 2.1, "c": 2.2}, {"a": math.nan, "b": 1.9, "c": 1.8})
    tried = {each.method: each for each in tried_by(body)}
    assert next(iter(tried)) == "c"
    assert tried["nan"].bits_per_byte is tried["a"].trained is None
    assert tried["nan"].note == tried["a"].note == "its bits per byte are not finite"


def test_a_training_that_fails_leaves_what_was_measured():
    body = FakeBody({"a": 2.0, "mean": 3.0, "b": 2.1, "c": 2.2}, {"a": MemoryError("none"), "b": 1.9, "c": 1.8})
    tried = {each.method: each for each in tried_by(body)}
    assert next(iter(tried)) == "c"
    assert tried["a"].note == "not trained: MemoryError: none"
    assert tried["a"].bits_per_byte == 2.0


def test_one_training_alone_decides_nothing():
    body = FakeBody({"a": 2.0, "mean": 3.0, "b": 1.9}, {"a": RuntimeError("no"), "b": 5.0})
    tried = tried_by(body)
    assert [each.trained for each in tried] == [None, None, None]
    assert tried[0].method == "b"


def decided(*tried: Tried) -> Decision:
    return deciding._best(Decision(RULED, "by rule: so it is", tuple(tried)))


def test_without_a_training_the_rule_stays_unless_another_is_clearly_better():
    assert decided(Tried("focus", 2.0), Tried(RULED, 2.015), Tried("mean", 3.0)).method == RULED
    assert decided(Tried("focus", 2.0), Tried(RULED, 2.025), Tried("mean", 3.0)).method == "focus"
    assert decided(Tried("focus", 2.0, 1.9), Tried(RULED, 2.015, 1.905)).method == "focus"
    assert "1.900, the next 1.905" in decided(Tried("focus", 2.0, 1.9), Tried(RULED, 2.015, 1.905)).why


def test_where_nothing_is_better_than_the_mean_row_it_is_taken_with_a_warning():
    found = decided(Tried("mean", 3.0, note="to compare with"), Tried(RULED, 3.1, note="no better than the mean row"))
    assert found.method == "mean"
    assert "no method starts better than the mean row" in found.warnings[0]


def test_long_documents_are_cut(tmp_path):
    file = tmp_path / "one.txt"
    words = [f"wort{number}" for number in range(40_000)]
    file.write_text(" ".join(words) + "\n", encoding="utf-8")
    sample = read_sample([file], seed=0)
    assert 20_000 <= sum(len(line.encode()) for line in sample.held_out) < 22_100
    assert sum(len(line.encode()) for line in sample.training) > 100_000
    assert set(" ".join(sample.held_out + sample.training).split()) == set(words)


def test_a_short_text_is_enough_for_the_rule(source, donor, tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("an en\nter lo\n", encoding="utf-8")
    made = salt_ext.transfer(source, donor, tmp_path / "out", text=[short], time_limit=0, device="cpu")
    assert made.report["choice"]["tried"] == []


def test_what_a_trial_reads_is_not_what_the_method_used(source, donor, text, word_vectors, tmp_path):
    """Vectors are read for the trial alone: of the method that is taken it is said that it makes no use of them."""
    aux = f"vectors:{word_vectors[0]}"
    made = salt_ext.transfer(source, donor, tmp_path / "out", text=[text], time_limit=20, aux=aux, device="cpu")
    used = made.report["method"]["name"] == "focus"
    assert any("makes no use of them" in warning for warning in made.report["warnings"]) != used


def test_a_trial_that_measured_nothing_leaves_it_to_the_rule(source, donor, text, tmp_path):
    made = salt_ext.transfer(source, donor, tmp_path / "out", text=[text], time_limit=1e-6, device="cpu")
    assert made.report["choice"]["method"] == RULED
    assert any("auto could not try methods" in warning for warning in made.report["warnings"])
