"""compare on tiny models: the same inputs for every method, figures that another way gives too, mistakes told early."""

from __future__ import annotations

import json

import pytest
import torch
import transformers

import salt_ext
from salt_ext import cli
from salt_ext.errors import InputError
from salt_ext.evaluation.text import measure_stream, token_stream
from salt_ext.pair.pair import PairOptions
from salt_ext.vocab import load_tokenizer

from .conftest import ONLY_TARGET, SHARED, save_model, text_of

pytestmark = pytest.mark.usefixtures("one_thread")

STEP = 4096


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """Held-out text, and text to adapt on that repeats a third of its lines."""
    folder = tmp_path_factory.mktemp("texts")
    held_out, training = text_of(SHARED + ONLY_TARGET, 11, 600), text_of(SHARED + ONLY_TARGET, 12, 4000)
    training += held_out[::3]
    for name, lines in (("held_out", held_out), ("training", training)):
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "held_out.txt", folder / "training.txt"


@pytest.fixture(scope="module")
def compared(source, donor, texts) -> salt_ext.Comparison:
    return salt_ext.compare(
        source,
        donor,
        "focus,salt:ridge=0.1",
        text=[texts[0]],
        adapt=2 * STEP + 5,
        adapt_text=[texts[1]],
        lr=1e-2,
        seeds=2,
        device="cpu",
    )


def test_every_method_and_control_has_every_figure_for_every_seed(compared):
    assert [row.method for row in compared.rows] == ["focus", "salt:ridge=0.1", "mean", "random"]
    keys = {"seconds", "memory_bytes", "held_out_cosine", "reciprocal_rank", "norm_ratio"}
    keys |= {"bits_per_byte", "bits_per_byte_adapted"}
    for row in compared.rows:
        assert row.figures.keys() == keys
        assert {len(of) for of in row.figures.values()} == {2}
    assert json.loads(json.dumps(compared.as_json()))["seeds"] == [0, 1]


def test_seeds_change_what_they_should(compared):
    rows = {row.method: row for row in compared.rows}
    for row in rows.values():
        assert row.figures["held_out_cosine"][0] != row.figures["held_out_cosine"][1]
        assert row.figures["bits_per_byte_adapted"][0] != row.figures["bits_per_byte_adapted"][1]
    assert rows["random"].std("bits_per_byte") > 0
    assert rows["mean"].std("bits_per_byte") == 0  # nothing of it is drawn


def test_facts(compared, texts):
    assert compared.facts["adaptation"]["tokens"] == 2 * STEP
    assert compared.facts["adaptation"]["lines_left_out"] == len(texts[0].read_text().splitlines()[::3])
    assert compared.facts["context"] == 64  # all that the model can
    assert compared.facts["text"]["bytes"] == sum(len(line.encode()) for line in texts[0].read_text().splitlines())
    assert compared.facts["left_out"] % 3 == 0


@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_bits_per_byte_are_those_of_a_transferred_model(kind, source, untied_source, donor, texts, tmp_path):
    """Written, opened and measured by hand; an untied head in bfloat16, too."""
    old = source if kind == "tied" else untied_source
    found = salt_ext.compare(old, donor, "salt", text=[texts[0]])
    salt_ext.transfer(old, donor, tmp_path / "out", method="salt")
    lines = texts[0].read_text(encoding="utf-8").splitlines()

    def by_hand(folder):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        stream = token_stream(load_tokenizer(folder), lines)
        dtype = getattr(torch, found.facts["dtype"])
        return measure_stream(model, stream, context=64, dtype=dtype).bits_per_byte

    assert found.rows[0].figures["bits_per_byte"] == pytest.approx((by_hand(tmp_path / "out"),), rel=1e-6)
    assert found.source_bits_per_byte == pytest.approx(by_hand(old), rel=1e-6)


def test_every_method_reads_the_same_batches_in_the_same_order(source, donor, texts, monkeypatch):
    seen: list[list[list[int]]] = []
    forward = transformers.LlamaForCausalLM.forward

    def spy(self, *, input_ids, **more):
        if self.training:
            seen.append(input_ids.tolist())
        return forward(self, input_ids=input_ids, **more)

    monkeypatch.setattr(transformers.LlamaForCausalLM, "forward", spy)
    salt_ext.compare(
        source, donor, "focus", text=[texts[0]], adapt=2 * STEP, adapt_text=[texts[1]], seeds=2, device="cpu"
    )
    assert len(seen) == 2 * 3 * 2  # seeds, methods, steps
    first, second = seen[:6], seen[6:]
    for arms in (first, second):
        assert arms[0:2] == arms[2:4] == arms[4:6]
    assert first[0:2] != second[0:2]
    assert all(len(batch) == STEP // 64 for batch in seen)


def test_nothing_stays_behind(source, donor, texts, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    salt_ext.compare(source, donor, "focus", text=[texts[0]])
    assert list(tmp_path.iterdir()) == []


def test_text_is_encoded_once(source, donor, texts, monkeypatch):
    from salt_ext.comparison import texts as module

    calls = []
    encode = module.token_stream
    monkeypatch.setattr(module, "token_stream", lambda *given: calls.append(1) or encode(*given))
    monkeypatch.setattr("salt_ext.evaluation.text.token_stream", lambda *given: pytest.fail("encoded again"))
    salt_ext.compare(source, donor, "focus", text=[texts[0]], adapt=STEP, adapt_text=[texts[1]])
    assert len(calls) == 3  # held out by both tokenizers, training by the new one


def test_command(source, donor, texts, tmp_path, capsys, word_vectors):
    arguments = ["compare", source, donor, "--methods", "salt:ridge=0.1;temperature=0.5", "--text", texts[0]]
    arguments += ["--aux", f"vectors:{word_vectors[0]}", "--output", tmp_path / "out", "--seeds", 2]
    assert cli.run([str(argument) for argument in arguments]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for word in ("mean", "random", "bits/byte", "±", "anchors"):
        assert word in printed
    stored = json.loads((tmp_path / "out" / "table.json").read_text())
    assert [entry["method"] for entry in stored["methods"]] == ["salt:ridge=0.1;temperature=0.5", "mean", "random"]
    assert stored["adaptation"] is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"methods": "sallt"}, "did you mean salt"),
        ({"text": []}, "text is empty"),
        ({"text": "one.txt"}, "found a single one"),
        ({"seeds": 0}, "seeds is 0"),
        ({"threads": 0}, "threads is 0"),
        ({"max_bytes": 0}, "max_bytes is 0"),
        ({"match": "fuzzy"}, "match is 'fuzzy'"),
        ({"adapt": 100}, "adapt is 100, expected 0 or at least 4096"),
        ({"adapt": STEP}, "adapt needs a text of its own"),
        ({"adapt_text": ["x"]}, "not how many tokens"),
        ({"adapt": STEP, "adapt_text": ["x"], "lr": float("nan")}, "lr is nan"),
        ({"aux": "cc.de.bin"}, "auxiliary vectors"),
    ],
)
def test_bad_arguments(source, donor, texts, given, message):
    arguments = {"methods": "salt", "text": [texts[0]]} | given
    with pytest.raises(InputError, match=message):
        salt_ext.compare(source, donor, arguments.pop("methods"), **arguments)


def test_bad_texts(source, donor, texts, tmp_path):
    file = tmp_path / "text.txt"
    for content, message in (
        (b"\xff\xfe", "is not UTF-8"),
        (b" \n\n", "holds no text"),
        (b"kurz\n", "text has . tokens, expected more than one window of 64"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=message):
            salt_ext.compare(source, donor, "mean", text=[file])
    with pytest.raises(InputError, match="cannot be read"):
        salt_ext.compare(source, donor, "mean", text=[tmp_path / "absent.txt"])
    with pytest.raises(InputError, match="no line that text does not hold too"):
        salt_ext.compare(source, donor, "mean", text=[texts[0]], adapt=STEP, adapt_text=[texts[0]])


def test_a_method_that_lacks_something_stops_the_run_before_models_are_measured(
    source, tmp_path, texts, target_tokenizer, monkeypatch
):
    """A donor without a usable row: SALT has no anchors to regress on."""
    donor = save_model(tmp_path / "donor", target_tokenizer, hidden=32)
    model = transformers.AutoModelForCausalLM.from_pretrained(donor)
    torch.nn.init.zeros_(model.get_input_embeddings().weight)
    model.get_input_embeddings().weight.data[-1] = 1
    model.save_pretrained(donor)
    monkeypatch.setattr("salt_ext.comparison.run.Evaluator.try_plan", lambda *given, **more: pytest.fail("measured"))
    with pytest.raises(InputError, match=r"^method salt: .*needs at least 2"):
        salt_ext.compare(source, donor, "mean,salt", text=[texts[0]])


def test_an_encoder_decoder_is_refused(tmp_path, source_tokenizer, donor, texts):
    config = transformers.T5Config(
        vocab_size=len(source_tokenizer), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    source_tokenizer.save_pretrained(tmp_path / "t5")
    with pytest.raises(InputError, match=r"source is an encoder-decoder \(t5\), expected a causal language model"):
        salt_ext.compare(tmp_path / "t5", donor, "mean", text=[texts[0]])


def test_an_unknown_architecture_is_refused_although_transfer_takes_it(copy_of, source, donor, texts):
    folder = copy_of(source)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "unheard", "architectures": ["Of"]}))
    with pytest.raises(InputError, match="source cannot be run as a causal language model"):
        salt_ext.compare(
            folder,
            donor,
            "mean",
            text=[texts[0]],
            models=PairOptions(embedding="model.embed_tokens.weight"),
        )


def test_real_models(real_data):
    """Of an English model moved to German: both informed methods find held-out rows that controls cannot."""
    models = real_data / "models"
    found = salt_ext.compare(
        models / "en-llama",
        models / "de-gpt",
        "salt,focus",
        text=[real_data / "text" / "de" / "docs.valid.txt"],
        max_bytes=5_000,
        aux=f"fasttext:{models / 'de-fasttext.bin'}",
    )
    rows = {row.method: row for row in found.rows}
    for name in ("salt", "focus"):
        for control in ("mean", "random"):
            assert rows[name].mean("held_out_cosine") > rows[control].mean("held_out_cosine") + 0.15
            assert rows[name].mean("reciprocal_rank") > 2 * rows[control].mean("reciprocal_rank")
            assert rows[name].mean("bits_per_byte") < rows[control].mean("bits_per_byte")
    assert rows["salt"].mean("norm_ratio") < 0.9
    assert found.facts["left_out"] == 900
