"""README.md of a moved model, read back by the hub's own library, with YAML as the independent reader."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

import salt_ext
from salt_ext.checkpoint.hub import hub_name

CARD = """---
license: other
license_name: some-licence
pipeline_tag: text-generation
language: [en]
tags: [theirs]
---
# Theirs
"""


def front_matter(file: Path) -> dict:
    """What stands between the first two lines of dashes."""
    return yaml.safe_load(file.read_text().split("---\n")[1])


@pytest.fixture
def mine(source, copy_of) -> Path:
    folder = copy_of(source)
    (folder / "README.md").write_text(CARD)
    return folder


def test_the_card_of_a_model_with_a_card(mine, donor, copy_of, tmp_path):
    theirs = copy_of(donor)
    (theirs / "README.md").write_text("---\nlanguage:\n- de\n---\n")
    made = salt_ext.transfer(mine, theirs, tmp_path / "out", method="salt", method_options={"ridge": 0.1})
    assert front_matter(made.output / "README.md") == {
        "license": "other",
        "license_name": "some-licence",
        "pipeline_tag": "text-generation",
        "language": ["de"],
        "library_name": "transformers",
        "tags": ["salt-ext", "vocabulary-transfer", "language-adaptation"],
    }
    assert (made.output / "README.source.md").read_text() == CARD
    text = ModelCard.load(made.output / "README.md").text
    for kind in ("copied", "regressed"):
        assert f"| {kind} | {made.report['rows'][kind]:,} |" in text
    assert "| sampled |" not in text
    assert "`salt`, ridge=0.1 (Lee et al. 2025" in text
    assert "`README.md` is kept as `README.source.md`" in text
    assert made.report["inputs"]["source"]["sha256"]["config.json"][:16] in text


def test_no_path_of_this_machine(mine, donor, word_vectors, tmp_path):
    """Whatever the options name; report and plan are for the user, the card is for the world."""
    text = tmp_path / "counted.txt"
    text.write_text("an en ter lo mi sa\n" * 50)
    options = {"text": text, "minimum_length": 3}
    made = salt_ext.transfer(
        mine, donor, tmp_path / "out", method="tokalign", method_options=options, aux=f"vectors:{word_vectors[0]}"
    )
    card = (made.output / "README.md").read_text()
    assert "text=counted.txt" in card
    for folder in {tmp_path, mine, Path(donor), Path(word_vectors[0]).parent}:
        assert str(folder) not in card


HOSTILE = {
    "no front matter": b"# A model\n",
    "bad yaml": b"---\nlicense: [unclosed\n---\n",
    "a list": b"---\n- license\n---\n",
    "wrong kinds": b"---\nlicense: {a: b}\nlanguage: 7\npipeline_tag: [x]\n---\n",
    "an object": b"---\nlicense: !!python/object/apply:os.system [exit]\n---\n",
    "no text": b"\xff\xfe\x00",
    "deep": b"---\na: " + b"[" * 20_000 + b"\n---\n",
    "lines": b'---\nlicense: "mit\\n---\\nx: y"\n---\n',
    "long": b"---\nlicense: " + b"m" * 5000 + b"\n---\n",
}


@pytest.mark.parametrize("card", HOSTILE.values(), ids=HOSTILE)
def test_a_strangers_card_changes_nothing_else(mine, donor, tmp_path, card):
    (mine / "README.md").write_bytes(card)
    made = salt_ext.transfer(mine, donor, tmp_path / "out", method="mean")
    found = front_matter(made.output / "README.md") if b"\\n---" not in card else {"library_name": "transformers"}
    assert found["library_name"] == "transformers"
    assert set(found) <= {"library_name", "tags", "license"}
    assert len(found.get("license", "")) <= 200
    assert ModelCard.load(made.output / "README.md").data.library_name == "transformers"
    assert (made.output / "README.source.md").read_bytes() == card


def test_a_link_out_of_the_folder_is_not_followed(mine, donor, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("---\nlicense: mit\n---\nprivate\n")
    (mine / "README.md").unlink()
    (mine / "README.md").symlink_to(secret)
    made = salt_ext.transfer(mine, donor, tmp_path / "out", method="mean")
    assert not (made.output / "README.source.md").exists()
    assert "license" not in front_matter(made.output / "README.md")
    assert "links to files outside" in json.dumps(made.report["warnings"])


def test_hub_names(tmp_path, monkeypatch):
    cached = tmp_path / "models--org--name" / "snapshots" / "0123"
    cached.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    os.mkdir("gpt2")
    assert hub_name("org/other") == "org/other"
    assert hub_name(str(cached)) == hub_name(cached) == "org/name"
    assert [hub_name(name) for name in ("gpt2", "./absent", str(tmp_path), tmp_path / "absent")] == [None] * 4


def test_the_card_names_what_auto_chose_with_its_options(source, target_tokenizer, tmp_path):
    target_tokenizer.save_pretrained(tmp_path / "alone")
    made = salt_ext.transfer(source, tmp_path / "alone", tmp_path / "out")
    text = (made.output / "README.md").read_text()
    assert made.report["choice"]["method"] == "subword:input=length"
    assert "- Method: `subword:input=length` (" in text
    assert "Chosen by `auto`: by rule: " in text
