"""SALT's options that go by how often tokens occur in a text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from salt_ext.errors import InputError
from salt_ext.methods import assemble_plan, make_method
from salt_ext.methods.salt.frequencies import token_counts
from salt_ext.methods.salt.salt import Salt
from salt_ext.plan import HeadBias, Norms


@pytest.fixture
def counted(world, pair, tmp_path):
    """A world whose target tokens are counted in a text by a tokenizer of 264 tokens."""
    made = world(150, 112)
    material = pair[0]
    file = tmp_path / "text.txt"
    file.write_text(" hauhause\n" * 5000 + "\nsese au\n")
    tokenizer = material.source_tokenizer
    return made, replace(made.material(), target_tokenizer=tokenizer), file, tokenizer


def test_tokens_are_counted_over_all_lines(counted):
    made, material, file, tokenizer = counted
    counts = token_counts(material, file)
    expected = np.zeros(made.target.size)
    for number in (n for line in file.read_text().splitlines() for n in tokenizer(line)["input_ids"]):
        expected[number] += 1
    assert counts.tolist() == expected.tolist()
    assert counts.max() == 5002


def test_frequencies_reach_the_plan(counted):
    made, material, file, _ = counted
    method = make_method(
        "salt", {"norms": "frequency", "head_bias": "frequency", "head_scale": "0.5", "text_sample": str(file)}
    )
    with_table = replace(material, read_source=lambda: torch.from_numpy(made.table))
    combined = method.combine(with_table)
    assert (combined.norms, combined.head_bias, combined.head_scale) == (Norms.FREQUENCY, HeadBias.FREQUENCY, 0.5)
    assert combined.facts["tokens_of_text_sample"] == token_counts(material, file).sum()
    rows, source_rows = made.target.size + 3, len(made.table)
    plan = assemble_plan(combined, made.pairs, made.target, rows=rows, source_rows=source_rows, seed=0)
    assert plan.log_counts is not None
    assert plan.log_counts[:-3].numpy() == pytest.approx(np.log1p(token_counts(material, file)), rel=1e-6)
    assert plan.log_counts[-3:].tolist() == [0, 0, 0]
    plain = make_method("salt").combine(material)
    assert (plain.values == combined.values).all()
    table = torch.from_numpy(made.table)
    assert torch.allclose(plan.apply(table).norm(dim=1)[151:-3] * 0.5, plan.apply(table, head=True).norm(dim=1)[151:-3])


def test_without_a_tokenizer(counted):
    made, _, file, _ = counted
    with pytest.raises(InputError, match="pass target_tokenizer"):
        Salt(norms="frequency", text_sample=file).combine(made.material())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"norms": "frequency"}, "by frequency, which needs a text: pass --set text_sample=FILE"),
        ({"head_bias": "frequency"}, "by frequency, which needs a text"),
        ({"head_bias": "rank"}, "head_bias is 'rank', expected one of weights, frequency"),
        ({"text_sample": "text.txt"}, "text_sample is given, but neither norms nor head_bias is 'frequency'"),
        ({"norms": "frequency", "text_sample": "absent.txt"}, "text_sample absent.txt: no such file"),
        ({"head_scale": 0.0}, r"head_scale is 0\.0, expected a finite number above 0"),
    ],
)
def test_bad_options(given, message):
    with pytest.raises(InputError, match=message):
        make_method("salt", given)
