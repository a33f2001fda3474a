"""Donor vectors for another tokenizer: equal forms, means of pieces, zeros; against the donor's own encoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from salt_ext.errors import InputError
from salt_ext.tokenizer import build_target
from salt_ext.vectors.pieces import rows_for
from salt_ext.vocab import Vocabulary, load_tokenizer


def word_level(words: list[str]) -> Any:
    """A target whose tokens are just these words, each at the beginning of a word; `##` continues one."""
    inner = Tokenizer(models.WordPiece({word: n for n, word in enumerate(["[UNK]", *words])}, unk_token="[UNK]"))
    inner.decoder = decoders.WordPiece(cleanup=False)
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")


def byte_level() -> Any:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, "Ġh", "au", "Ġhau", "se"]
    merges = [("Ġ", "h"), ("a", "u"), ("Ġh", "au"), ("s", "e")]
    inner = Tokenizer(models.BPE({piece: n for n, piece in enumerate(pieces)}, merges))
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner)


def metaspace() -> Any:
    letters = ["▁", *"hausebö", "▁h", "▁hau", "au", "se"]
    pieces = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters]
    merges = [("▁", "h"), ("a", "u"), ("▁h", "au"), ("s", "e")]
    model = models.BPE({piece: n for n, piece in enumerate(pieces)}, merges, unk_token="<unk>", byte_fallback=True)
    inner = Tokenizer(model)
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")


def word_piece() -> Any:
    pieces = ["[UNK]", "hau", "##se", "##hau", "se", "##n", "o", "##r", "b"]
    inner = Tokenizer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]"))
    inner.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")


WORDS = ["hause", "##hause", "##se", "ö", "Hausen", "xyz"]
EXPECTED = {
    "byte level": [["Ġhau", "se"], ["h", "au", "se"], ["se"], ["Ġ", "Ã", "¶"], ["Ġ", "H", "au", "se", "n"], None],
    "metaspace": [
        ["▁hau", "se"],
        ["h", "au", "se"],
        ["se"],
        ["▁", "ö"],
        ["▁", "<0x48>", "au", "se", "<0x6E>"],
        None,
    ],
    # The donor lower-cases and strips accents; a word with a part that it does not know is unknown.
    "word piece": [["hau", "##se"], ["##hau", "##se"], ["##se"], ["o"], ["hau", "##se", "##n"], []],
}


@pytest.mark.parametrize(
    ("make", "family"), [(byte_level, "byte level"), (metaspace, "metaspace"), (word_piece, "word piece")]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_means_of_pieces(make, family, dtype) -> None:
    donor, target = make(), Vocabulary.from_tokenizer(word_level(WORDS), name="target")
    vocabulary = Vocabulary.from_tokenizer(donor, name="donor")
    table = torch.randn(vocabulary.size + 3, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    rows = rows_for(target, vocabulary, donor, table)
    assert rows.shape == (target.size, 8)
    assert rows.dtype == dtype
    # A special token is the donor's of the same spelling, or nothing.
    assert torch.equal(rows[0], table[0] if family == "word piece" else torch.zeros(8, dtype=dtype))
    for number, pieces in enumerate(EXPECTED[family], start=1):
        if pieces is not None:
            ids = donor.convert_tokens_to_ids(pieces)
            assert donor.unk_token_id is None or donor.unk_token_id not in ids
            wide = table.double().numpy()[ids]
            mean = wide.mean(axis=0) if ids else np.zeros(8)
            np.testing.assert_allclose(
                rows[number].double().numpy(), mean, rtol=8e-3 if dtype == torch.bfloat16 else 0, atol=1e-6
            )


def test_the_same_ids_need_no_work() -> None:
    donor = byte_level()
    vocabulary = Vocabulary.from_tokenizer(donor, name="donor")
    table = torch.randn(vocabulary.size, 4)
    assert rows_for(vocabulary, vocabulary, donor, table) is table
    padded = torch.randn(vocabulary.size + 9, 4)
    assert rows_for(vocabulary, vocabulary, donor, padded) is padded
    longer = byte_level()
    longer.add_tokens(["<|one|>", "<|two|>"])
    rows = rows_for(Vocabulary.from_tokenizer(longer, name="target"), vocabulary, donor, padded)
    assert torch.equal(rows[: vocabulary.size], padded[: vocabulary.size])
    assert rows.shape[0] == vocabulary.size + 2
    assert not rows[vocabulary.size :].any()


def test_a_short_table() -> None:
    donor = byte_level()
    vocabulary = Vocabulary.from_tokenizer(donor, name="donor")
    with pytest.raises(InputError, match=r"donor table: found shape \[3, 4\], expected \[260 or more"):
        rows_for(vocabulary, vocabulary, donor, torch.zeros(3, 4))


@pytest.mark.parametrize(("donor", "target"), [("xlm-roberta", "focus-de-bpe-50k"), ("focus-de-bpe-50k", "gemma2")])
def test_real(real_data: Path, donor, target) -> None:
    """The pieces of a token that begins a word are those that the donor makes of it behind another word."""
    opened = load_tokenizer(real_data / "tokenizers" / donor)
    vocabulary = Vocabulary.from_tokenizer(opened, name=donor)
    own = load_tokenizer(real_data / "tokenizers" / target)
    wanted = build_target(own, own).vocabulary
    table = torch.randn(vocabulary.size, 4, generator=torch.Generator().manual_seed(0))
    rows = rows_for(wanted, vocabulary, opened, table)
    words = [
        n
        for n, form in enumerate(wanted.forms)
        if form and form.begins_word and form.data.decode("utf-8", "replace").isalpha()
    ]
    sample = np.random.default_rng(0).choice(words, 2000, replace=False).tolist()
    texts = [f"a {wanted.forms[n].text}" for n in sample]  # type: ignore[union-attr]
    head = opened.encode("a", add_special_tokens=False)
    same = 0
    for number, ids in zip(sample, opened(texts, add_special_tokens=False)["input_ids"], strict=True):
        assert ids[: len(head)] == head
        ids = [i for i in ids[len(head) :] if i != opened.unk_token_id]
        expected = table[ids].double().mean(dim=0) if ids else torch.zeros(4).double()
        same += torch.allclose(rows[number].double(), expected, atol=1e-5)
    assert same == len(sample)
