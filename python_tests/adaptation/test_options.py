"""What a user asks for is understood, or refused with the names that would be, before any work."""

from __future__ import annotations

import pytest

from salt_ext import AdaptOptions, Phase
from salt_ext.adaptation.needs import require
from salt_ext.adaptation.phases import parse_phases
from salt_ext.errors import InputError


def test_phases_as_they_are_written():
    written = "rows=100, vocabulary=2000@1e-3,all=8000"
    assert parse_phases(written) == (Phase("rows", 100), Phase("vocabulary", 2000, 1e-3), Phase("all", 8000))
    assert AdaptOptions(phases=iter([Phase("all", 5)])).all_phases == (Phase("all", 5),)


def test_a_fifth_of_the_tokens_is_for_the_tables():
    assert AdaptOptions(tokens=1001).all_phases == (Phase("vocabulary", 200), Phase("all", 801))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "neither of tokens and phases given"),
        ({"tokens": 5, "phases": "all=5"}, "both of tokens and phases given"),
        ({"phases": "vocabluary=5"}, "did you mean vocabulary"),
        ({"phases": "all"}, "phases has 'all', expected NAME=TOKENS"),
        ({"phases": "all=many"}, "phases has 'all=many'"),
        ({"phases": "all=0"}, "phase all has 0 tokens"),
        ({"phases": "all=5@2"}, "learning rate 2.0"),
        ({"phases": []}, "expected at least one Phase"),
        ({"tokens": 9, "lr": 0.0}, "lr is 0.0"),
        ({"tokens": 9, "context": 1}, "context is 1"),
        ({"tokens": 9, "seed": -1}, "seed is -1"),
        ({"tokens": 9, "replay": 0.5}, "no text in the source's language"),
        ({"tokens": 9, "replay": 1.0, "source_text": ["a"]}, "replay is 1.0"),
        ({"tokens": 9, "eval_text": "a.txt"}, "expected a list of texts"),
        ({"tokens": 9, "dtype": "int8"}, "dtype is int8"),
        ({"phases": "vocabulary=9", "lora": 4}, "no phase trains all weights"),
        ({"tokens": 9, "adapters": True}, "what else is trained is no adapter"),
        ({"phases": "all=5,all=5", "lora": 2, "adapters": True}, "what else is trained is no adapter"),
    ],
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        AdaptOptions(**options)


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr("salt_ext.adaptation.needs.find_spec", lambda name: None if name != "json" else object())
    with pytest.raises(InputError, match=r"adapt needs accelerate and pyyaml, which are not.*'salt-ext\[adapt\]'"):
        require("accelerate", "yaml", "json", what="adapt")
    with pytest.raises(InputError, match=r"tensorboard, which is not installed: pip install tensorboard"):
        require("tensorboard", what="tensorboard")
