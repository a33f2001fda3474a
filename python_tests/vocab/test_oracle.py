"""Forms and anchors against the oracle: every token of every tokenizer, every pair of tokenizers."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest

from salt_ext.vocab import Vocabulary, match_vocabularies


def written(vocabulary: Vocabulary) -> dict[int, bytes]:
    return {number: form.written for number, form in enumerate(vocabulary.forms) if form is not None}


def compare(source, target) -> dict[str, int]:
    """Anchors of a pair of Opened tokenizers beside the oracle's: wrong pairs, missed target tokens."""
    there = set(source.written.values())
    true = {number for number, data in target.written.items() if data in there}
    anchors = match_vocabularies(source.vocabulary, target.vocabulary)
    pairs = list(zip(anchors.source_ids.tolist(), anchors.target_ids.tolist(), strict=True))
    wrong = [
        (old, new) for old, new in pairs if old not in source.written or source.written[old] != target.written[new]
    ]
    return {
        "ours": len(pairs),
        "oracle": len(true),
        "wrong": len(wrong),
        "missed": len(true - {new for _, new in pairs}),
    }


def test_trained_forms(trained) -> None:
    for name, opened in trained.items():
        assert written(opened.vocabulary) == opened.written, name
        assert len(opened.written) > 140


def test_trained_pairs(trained) -> None:
    for (source_name, source), (target_name, target) in permutations(trained.items(), 2):
        figures = compare(source, target)
        assert figures["wrong"] == figures["missed"] == 0, (source_name, target_name, figures)
        assert figures["ours"] == figures["oracle"] > 50, (source_name, target_name, figures)


@pytest.mark.parametrize("index", range(10))
def test_real_forms(real, real_names, index) -> None:
    opened = real(real_names[index])
    assert written(opened.vocabulary) == opened.written


def test_real_pairs(real, real_names, record_property) -> None:
    """The table of the issue: every pair of the real tokenizers, none wrong, none missed."""
    opened = {name: real(name) for name in real_names}
    table = {pair: compare(opened[pair[0]], opened[pair[1]]) for pair in combinations(real_names, 2)}
    for pair, figures in table.items():
        record_property(" -> ".join(pair), str(figures))
    assert {pair: figures for pair, figures in table.items() if figures["wrong"] or figures["missed"]} == {}
    assert all(figures["ours"] == figures["oracle"] > 1_000 for figures in table.values())


def test_mistral_against_sentencepiece(real, real_data) -> None:
    """The SentencePiece library reads the same model file by itself."""
    spm = pytest.importorskip("sentencepiece")
    opened = real("tokenizers/mistral-v1")
    model = spm.SentencePieceProcessor(model_file=str(real_data / "tokenizers/mistral-v1/tokenizer.model"))
    expected = {}
    for number in range(model.get_piece_size()):
        piece = model.id_to_piece(number)
        if model.is_byte(number):
            expected[number] = bytes.fromhex(piece[3:5])
        elif not (model.is_control(number) or model.is_unknown(number)):
            expected[number] = piece.replace("▁", " ").encode()
    assert len(expected) == 31_997
    assert written(opened.vocabulary) == expected
