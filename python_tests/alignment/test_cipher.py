"""The cipher oracle: a target that is the source in other letters and with other ids gets the source's own rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from salt_ext.alignment import (
    AlignmentTable,
    WordCounts,
    fit_ibm1,
    read_pharaoh,
    read_table,
    read_units,
    token_counts,
    write_table,
)
from salt_ext.methods.alignment_rows import trans_tokenization
from salt_ext.vocab import match_vocabularies

from .conftest import ENGLISH, opened

# Letters of a script that no tokenizer here has; everything else stays as it is.
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZäöüßÄÖÜéèàçñøåæœáíóúâêîôûë"
CIPHER = str.maketrans({letter: chr(0x1200 + place) for place, letter in enumerate(LETTERS)})
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<mask>")


def enciphered(tokenizer: Tokenizer, seed: int) -> tuple[Tokenizer, dict[int, int]]:
    """The tokenizer with enciphered pieces and permuted ids, and new id -> old id."""
    definition: dict[str, Any] = json.loads(tokenizer.to_str())
    model, size = definition["model"], tokenizer.get_vocab_size()
    # Tokens that were added behind the model's own stay there.
    order = np.random.default_rng(seed).permutation(len(model["vocab"])).tolist()
    order += range(len(order), size)

    def spell(token: str) -> str:
        return token if token in SPECIAL else token.translate(CIPHER)

    assert not any(chr(0x1200 + n) in token for token in tokenizer.get_vocab() for n in range(len(LETTERS)))
    if model["type"] == "Unigram":
        pieces = [[spell(token), score] for token, score in model["vocab"]]
        model["vocab"] = [piece for _, piece in sorted(zip(order, pieces, strict=False))]
        model["unk_id"] = order[model["unk_id"]]
    else:
        model["vocab"] = {spell(token): order[number] for token, number in model["vocab"].items()}
    if "merges" in model:
        model["merges"] = [[spell(half) for half in pair] for pair in model["merges"]]
    for token in definition["added_tokens"]:
        token["id"] = order[token["id"]]
    definition["post_processor"] = None
    return Tokenizer.from_str(json.dumps(definition)), {order[number]: number for number in range(size)}


def check(table, source, target, old_of, least):
    """Every token that occurs often enough has exactly its own source token; returns how many they are."""
    anchors = match_vocabularies(source, target)
    made = trans_tokenization(table, anchors, source, target)
    combined = made.combined
    ends = np.cumsum(combined.lengths)
    for row in np.flatnonzero(made.origins == "mapped").tolist():
        entries = slice(ends[row] - combined.lengths[row], ends[row])
        assert combined.source_ids[entries].tolist() == [old_of[int(combined.target_ids[row])]]
        assert combined.values[entries].tolist() == [1.0]
    mapped = combined.target_ids[made.origins == "mapped"].tolist()
    assert {old_of[number] for number in mapped} == least - source.special_ids
    return len(mapped)


def occurring(tokenizer, lines, count):
    ids = [number for line in lines for number in tokenizer(line, add_special_tokens=False)["input_ids"]]
    return {number for number in set(ids) if ids.count(number) >= count}


@pytest.fixture(params=["metaspace", "wordpiece"])
def pair(request, trained):
    source = trained[request.param][0]
    tokenizer, old_of = enciphered(source.tokenizer.backend_tokenizer, 7)
    return source, opened(tokenizer, "enciphered"), old_of


def test_aligned_one_to_one(tmp_path, pair):
    """Through the files on disk."""
    source, target, old_of = pair
    lines = ENGLISH * 10
    texts = [read_units(*source, lines, unit="token"), read_units(*target, [s.translate(CIPHER) for s in lines],
                                                                  unit="token")]  # fmt: skip
    lengths = [np.diff(text.corpus.starts).tolist() for text in texts]
    assert lengths[0] == lengths[1]
    diagonal = [" ".join(f"{n}-{n}" for n in range(length)) for length in lengths[0]]
    (tmp_path / "alignment").write_text("\n".join(diagonal))
    counts = token_counts(read_pharaoh(tmp_path / "alignment", *texts))
    table = AlignmentTable.of(counts, source.vocabulary, target.vocabulary, name="cipher")
    write_table(tmp_path / "table.tsv", table, source.vocabulary, target.vocabulary)
    table = read_table(tmp_path / "table.tsv")
    assert check(table, source.vocabulary, target.vocabulary, old_of, occurring(source.tokenizer, lines, 10)) >= 12


def test_learnt_from_words_by_themselves(pair):
    """IBM Model 1 on lines of one token each: nothing else can be its translation."""
    source, target, old_of = pair
    words = [word for line in ENGLISH for word in line.split()]
    words = [word for word in words if len(source.tokenizer(word, add_special_tokens=False)["input_ids"]) == 1] * 20
    texts = [read_units(*source, words), read_units(*target, [word.translate(CIPHER) for word in words])]
    found = fit_ibm1(texts[0].corpus, texts[1].corpus).likely()
    kept = found.source >= 0
    columns = (found.source[kept], found.target[kept], found.count[kept])
    counts = token_counts(WordCounts(texts[0].pieces, texts[1].pieces, *columns))
    table = AlignmentTable.of(counts, source.vocabulary, target.vocabulary, name="cipher")
    assert check(table, source.vocabulary, target.vocabulary, old_of, occurring(source.tokenizer, words, 10)) > 2


def test_real_tokenizer_and_text(tmp_path, real, real_data):
    source = real("tokenizers/focus-de-xlmr-unigram-30k")
    tokenizer, old_of = enciphered(source.tokenizer.backend_tokenizer, 7)
    target = opened(tokenizer, "enciphered")
    lines = (real_data / "aligned/docs.en-de.de").read_text(encoding="utf-8").split("\n")[:1000]
    texts = [read_units(*source, lines, unit="token")]
    texts.append(read_units(*target, [line.translate(CIPHER) for line in lines], unit="token"))
    lengths = [np.diff(text.corpus.starts).tolist() for text in texts]
    assert lengths[0] == lengths[1]
    diagonal = [" ".join(f"{n}-{n}" for n in range(length)) for length in lengths[0]]
    (tmp_path / "alignment").write_text("\n".join(diagonal))
    counts = token_counts(read_pharaoh(tmp_path / "alignment", *texts))
    table = AlignmentTable.of(counts, source.vocabulary, target.vocabulary, name="cipher")
    assert check(table, source.vocabulary, target.vocabulary, old_of, occurring(source.tokenizer, lines, 10)) > 100
