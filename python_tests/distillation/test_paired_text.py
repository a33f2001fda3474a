"""Windows of one text for two tokenizers: both sides hold the same text, and all of it."""

from __future__ import annotations

import pytest
import tokenizers
import torch
from transformers import PreTrainedTokenizerFast

from salt_ext.distillation.paired_text import batched, paired_windows
from salt_ext.errors import InputError

TEXT = ["Das große Haus am See, größer als alle.", "Ein Fluß — 👩‍💻!", "Drei Häuser am Fluß: das große, das kleine."]


def byte_level(size: int, *, bos: str | None) -> PreTrainedTokenizerFast:
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[] if bos is None else [bos],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=bos)


STUDENT, TEACHER = byte_level(310, bos="<s>"), byte_level(260, bos="<begin>")


@pytest.mark.parametrize("context", [12, 40, 512])
def test_both_sides_hold_the_same_text(context):
    windows = paired_windows(STUDENT, TEACHER, TEXT, context=context)
    for window in windows:
        assert len(window.student) <= context
        assert len(window.teacher) <= context
        assert window.student_ends[0] == window.teacher_ends[0] == 0
        assert window.student_ends[-1] == len(window.student) - 1
        assert window.teacher_ends[-1] == len(window.teacher) - 1
        for mine, other in zip(window.student_ends[1:], window.teacher_ends[1:], strict=True):
            read = STUDENT.decode(window.student[1 : mine + 1]).replace("<s>", "|")
            assert read == TEACHER.decode(window.teacher[1 : other + 1]).replace("<begin>", "|")


def test_windows_are_the_whole_text_in_order():
    windows = paired_windows(STUDENT, TEACHER, TEXT, context=40)
    assert len(windows) > 2
    ids = [int(windows[0].student[0])] + [token for window in windows for token in window.student[1:].tolist()]
    assert ids == [token for line in TEXT for token in [STUDENT.bos_token_id, *STUDENT(line)["input_ids"]]]


def test_separators_are_no_text():
    (window,) = paired_windows(STUDENT, TEACHER, TEXT, context=512)
    places = window.student_ends[1:][~window.is_text]
    assert window.student[places].tolist() == [STUDENT.bos_token_id] * (len(TEXT) - 1)


def test_a_teacher_without_separators_is_read_all_the_same():
    bare = byte_level(260, bos=None)
    windows = paired_windows(STUDENT, bare, TEXT, context=60)
    text = "".join(bare.decode(window.teacher[1:]) for window in windows)
    # The first boundary is behind the first token that both end; nothing before it is a target.
    assert "".join(TEXT).endswith(text)
    assert len(text) > 0.9 * len("".join(TEXT))


def test_a_stretch_that_fits_no_window_is_left_out():
    windows = paired_windows(STUDENT, TEACHER, ["ab", "👩‍💻" * 8, "ab"], context=6)
    assert all(max(len(window.student), len(window.teacher)) <= 6 for window in windows)
    with pytest.raises(InputError, match=r"text has 1 places where both tokenizers end a token"):
        paired_windows(STUDENT, TEACHER, [""], context=6)


def test_a_batch_numbers_boundaries_across_its_windows():
    windows = paired_windows(STUDENT, TEACHER, TEXT, context=20)[:3]
    batch = batched(windows)
    flat, place = batch.student.flatten(), 0
    for window in windows:
        count = len(window.student_ends)
        assert torch.equal(
            flat[batch.student_ends[place : place + count]],
            window.student[window.student_ends],
        )
        assert batch.begins[place : place + count].tolist() == [True] + [False] * (count - 1)
        assert batch.is_text[place + 1 : place + count].tolist() == window.is_text.tolist()
        place += count
    assert int(batch.targets.sum()) == sum(len(window.student) - 1 for window in windows)
    assert not batch.is_text[batch.begins].any()
