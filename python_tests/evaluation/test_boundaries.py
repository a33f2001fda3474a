"""Where two tokenisations of one text end together, against what decoding the tokens so far gives."""

from __future__ import annotations

import pytest
import tokenizers
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from salt_ext.errors import InputError
from salt_ext.evaluation.boundaries import NO_END, Segmented, common_boundaries, segment

TEXT = "Das  Haus — größer 👩‍💻 ist\n\n  neu. Việt Nam, Äpfel\t!"


def byte_level(size: int, *, trim: bool) -> PreTrainedTokenizerFast:
    """Byte-level BPE of so many tokens, trained on the text."""
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.post_processor = tokenizers.processors.ByteLevel(trim_offsets=trim)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator([TEXT], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made)


COARSE, FINE = byte_level(300, trim=False), byte_level(258, trim=True)


def ends_by_decoding(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """The text's length behind each token, -1 where what was read so far is no whole number of characters."""
    alphabet = {char: byte for byte, char in _unicode_of_bytes().items()}
    read, found = b"", []
    for token in tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]):
        read += bytes(alphabet[char] for char in token)
        try:
            found.append(len(read.decode()))
        except UnicodeDecodeError:
            found.append(NO_END)
    return found


def _unicode_of_bytes() -> dict[int, str]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others for 256 and up."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + n) for n, b in enumerate(others)}


@settings(max_examples=60, deadline=None)
@given(st.text(st.sampled_from("ab ßéœ👩💻\u200d\n\tệ"), min_size=1, max_size=24))
@pytest.mark.parametrize("tokenizer", [COARSE, FINE], ids=["coarse", "fine"])
def test_ends_are_those_that_decoding_gives(tokenizer, text):
    (found,) = segment(tokenizer, [text])
    whole = found.ends != NO_END
    expected = torch.tensor(ends_by_decoding(tokenizer, text))
    assert torch.equal(found.ends[whole], expected[whole])
    # A token of white space alone may have no extent of its own where a tokenizer trims offsets.
    if tokenizer is COARSE:
        assert torch.equal(found.ends, expected)


def test_both_have_read_the_same_text_at_every_pair():
    (coarse,), (fine,) = segment(COARSE, [TEXT]), segment(FINE, [TEXT])
    pairs = common_boundaries(coarse, fine)
    assert len(pairs.first) > 15
    for first, second in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True):
        assert COARSE.decode(coarse.ids[: first + 1]) == FINE.decode(fine.ids[: second + 1])
    assert (pairs.first.diff() > 0).all()
    assert (pairs.second.diff() > 0).all()


@pytest.mark.parametrize(
    ("first", "second", "pairs"),
    [
        ([1, 2, 3], [1, 2, 3], [(0, 0), (1, 1), (2, 2)]),
        ([2, 5, 9], [1, 2, 9], [(0, 1), (2, 2)]),
        ([-1, 4], [-1, -1, 4], [(1, 2)]),
        ([3], [1, 2], []),
        ([], [1], []),
        ([-1], [-1], []),
    ],
)
def test_pairs_by_hand(first, second, pairs):
    made = [Segmented(torch.zeros(len(ends), dtype=torch.int64), torch.tensor(ends).long()) for ends in (first, second)]
    found = common_boundaries(*made)
    assert list(zip(found.first.tolist(), found.second.tolist(), strict=True)) == pairs


def test_an_empty_document_has_no_ends():
    assert [len(each.ends) for each in segment(COARSE, ["", "a"])] == [0, 1]


def test_a_tokenizer_without_offsets_is_refused():
    class Slow(transformers.PreTrainedTokenizer):
        vocab_size = 1

        def get_vocab(self):
            return {"a": 0}

    with pytest.raises(InputError, match="gives no offsets"):
        segment(Slow(), ["a"])
