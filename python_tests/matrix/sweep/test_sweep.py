"""No class of transformers is moved wrongly, and none is refused for a reason that nobody has read."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

# What may be said of a class that is not moved; anything else is a finding.
_TRUE_REASONS = (
    "has two vocabularies",  # FSMT
    "has no input embedding table",  # its tables are of sounds or actions (MusicGen, PI0), or only the decoder's
    "has no head; a language model was expected",
    "is made of several tensors",  # Molmo2
)


def _sweep() -> ModuleType:
    """The script beside this file."""
    spec = importlib.util.spec_from_file_location("salt_sweep", Path(__file__).with_name("sweep.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["salt_sweep"] = module
    spec.loader.exec_module(module)
    return module


def _check(rows: list[dict[str, str]]) -> None:
    assert [row for row in rows if row["result"] == "wrong"] == []
    refused = [row for row in rows if row["result"] == "refused"]
    assert [row for row in refused if not any(reason in row["reason"] for reason in _TRUE_REASONS)] == []


def test_a_few_classes():
    """One of each kind; in the default run, so that the sweep itself stays sound."""
    sweep = _sweep()
    expected = {
        "fsmt:FSMTForConditionalGeneration": "refused",
        "llama:LlamaForCausalLM": "equal",
        "mllama:MllamaForCausalLM": "equal",
        "molmo2:Molmo2ForConditionalGeneration": "refused",
    }
    known = {f"{kind}:{cls}" for kind, cls in sweep.classes()}
    rows = sweep.sweep(sorted(expected.keys() & known))
    _check(rows)
    assert {row["class"]: row["result"] for row in rows} == {
        name: result for name, result in expected.items() if name in known
    }


@pytest.mark.full
def test_every_class(capsys):
    sweep = _sweep()
    rows = sweep.sweep([f"{kind}:{cls}" for kind, cls in sweep.classes()])
    with capsys.disabled():
        print("\n" + sweep.table(rows))
    _check(rows)
    # Whatever the version, most are built and moved.
    assert sum(row["result"] == "equal" for row in rows) > len(rows) * 0.7
