"""TokAlign: words that one tokenizer calls otherwise are found by the company that they keep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from salt_ext.errors import InputError
from salt_ext.methods import make_method
from salt_ext.methods.tokalign import TokAlign, relative

from .conftest import of_tokenizers

WORDS = 24


def of_words(words, normalizer=None) -> PreTrainedTokenizerFast:
    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(["<unk>", *words])}, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    if normalizer is not None:
        inner.normalizer = normalizer
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")


@pytest.fixture
def partners(tmp_path):
    """The source calls half of the words x..., the target y...; every word stands near words of its own."""
    shared = [f"s{n}" for n in range(WORDS)]
    source = of_words([*shared, *(f"x{n}" for n in range(WORDS))])
    target = of_words([*(f"y{n}" for n in reversed(range(WORDS))), "y99", *shared], normalizers.Replace("x", "y"))
    generator = np.random.default_rng(0)
    lines = []
    for _ in range(500):
        near = int(generator.integers(WORDS))
        drawn = (near + generator.integers(3, size=20)) % WORDS
        lines.append(" ".join(f"{'sx'[int(generator.integers(2))]}{number}" for number in drawn))
    file = tmp_path / "text.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    material = replace(of_tokenizers(source, target), target_tokenizer=target)
    return material, file


def test_twins_are_found(partners):
    material, file = partners
    combined = make_method("tokalign", {"text": str(file), "dimensions": "24", "iterations": "60"}).combine(material)
    partners = dict(zip(combined.target_ids.tolist(), combined.source_ids.tolist(), strict=True))
    names = {material.target.tokens[new]: material.source.tokens[old] for new, old in partners.items()}
    right = sum(names[f"y{number}"] == f"x{number}" for number in range(WORDS))
    near = sum(names[f"y{number}"][1:] == str(number) for number in range(WORDS))
    assert near >= 0.9 * WORDS
    assert right >= 0.4 * WORDS  # x7 and s7 keep the same company: which of the two is a matter of noise
    assert combined.lengths.tolist() == [1] * (WORDS + 1)
    assert (combined.values == 1).all()
    assert combined.facts == {"pivots": WORDS, "not_in_text": 1}


def test_cosines_with_pivots():
    generator = torch.Generator().manual_seed(0)
    vectors, pivots = (torch.randn(n, 5, generator=generator).double() for n in (7, 3))
    expected = [[float(v @ p / v.norm() / p.norm()) for p in pivots] for v in vectors]
    np.testing.assert_allclose(relative(vectors, pivots).numpy(), expected, rtol=1e-12)


def test_bad_input(partners, tmp_path):
    material, file = partners
    with pytest.raises(InputError, match="needs a text that both tokenizers cut: pass --set text=FILE"):
        TokAlign()
    with pytest.raises(InputError, match="no such file"):
        TokAlign(text=tmp_path / "absent.txt")
    with pytest.raises(InputError, match="pivots is 0"):
        TokAlign(text=file, pivots=0)
    with pytest.raises(InputError, match=r"no token that both tokenizers share is in .* 100000 times .minimum_count."):
        TokAlign(text=file, minimum_count=100000, iterations=1).combine(material)
