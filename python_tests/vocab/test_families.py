"""The family is read from the definition: decoder, model and, where there is no decoder, pre-tokenizer."""

from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import ByT5Tokenizer, CLIPTokenizer, PreTrainedTokenizerFast

from salt_ext.errors import InputError
from salt_ext.vocab import Form, Vocabulary


def read(model, *, decoder=None, pre_tokenizer=None, normalizer=None, **special) -> Vocabulary:
    backend = Tokenizer(model)
    for name, step in (("decoder", decoder), ("pre_tokenizer", pre_tokenizer), ("normalizer", normalizer)):
        if step is not None:
            setattr(backend, name, step)
    return Vocabulary.from_tokenizer(PreTrainedTokenizerFast(tokenizer_object=backend, **special), name="made")


def bpe(*pieces: str, **options) -> models.BPE:
    return models.BPE(vocab={piece: number for number, piece in enumerate(pieces)}, merges=[], **options)


def test_names(real, real_names) -> None:
    kinds = {name.split("/")[-1]: real(name).vocabulary.kind for name in real_names}
    assert kinds == {
        "gpt2": "byte-level BPE",
        "qwen2.5": "byte-level BPE",
        "focus-de-bpe-50k": "byte-level BPE",
        "en-llama": "byte-level BPE",
        "de-gpt": "byte-level BPE",
        "gemma2": "SentencePiece BPE",
        "mistral-v1": "SentencePiece BPE",
        "xlm-roberta": "SentencePiece Unigram",
        "focus-de-xlmr-unigram-30k": "SentencePiece Unigram",
        "minilm": "WordPiece",
    }


def test_byte_pieces_are_literal_where_the_model_has_no_byte_fallback() -> None:
    plain = read(bpe("<0x41>"), decoder=decoders.Metaspace())
    fallback = read(bpe("<0x41>", byte_fallback=True), decoder=decoders.Metaspace())
    assert plain.forms == [Form(b"<0x41>", False)]
    assert plain.byte_ids == frozenset()
    assert fallback.forms == [Form(b"A", False)]
    assert fallback.byte_ids == {0}


@pytest.mark.parametrize(
    ("steps", "piece", "kind"),
    [
        ({"pre_tokenizer": pre_tokenizers.ByteLevel()}, "ĠÃ¤", "byte-level BPE"),
        ({"pre_tokenizer": pre_tokenizers.Metaspace()}, "▁ä", "SentencePiece BPE"),
        ({"normalizer": normalizers.Replace(" ", "▁")}, "▁ä", "SentencePiece BPE"),
        ({"decoder": decoders.Metaspace(replacement="_")}, "_ä", "SentencePiece BPE"),
        ({"decoder": decoders.Fuse()}, " ä", "BPE"),
        (
            {"pre_tokenizer": pre_tokenizers.Sequence([pre_tokenizers.Digits(), pre_tokenizers.ByteLevel()])},
            "ĠÃ¤",
            "byte-level BPE",
        ),
    ],
)
def test_signs_of_a_space(steps, piece, kind) -> None:
    vocabulary = read(bpe(piece), **steps)
    assert vocabulary.forms == [Form("ä".encode(), True)]
    assert vocabulary.kind == kind


def test_word_end_suffix() -> None:
    """GPT-1 and Herbert mark a word's end, which is a space after the piece and tells nothing of its beginning."""
    model = bpe("haus", "haus</w>", end_of_word_suffix="</w>")
    vocabulary = read(model, decoder=decoders.BPEDecoder("</w>"), pre_tokenizer=pre_tokenizers.BertPreTokenizer())
    assert vocabulary.forms == [Form(b"haus", False), Form(b"haus ", False)]
    assert vocabulary.kind == "BPE with '</w>'"


def test_clip_is_byte_level_with_a_word_end_suffix() -> None:
    vocabulary = {"Ã¤</w>": 0, "Ã¤": 1, "<|startoftext|>": 2, "<|endoftext|>": 3}
    forms = Vocabulary.from_tokenizer(CLIPTokenizer(vocab=vocabulary, merges=[]), name="clip").forms
    assert forms[:2] == [Form("ä ".encode(), False), Form("ä".encode(), False)]


def test_bpe_with_continuing_prefix() -> None:
    vocabulary = read(bpe("haus", "##haus", continuing_subword_prefix="##"), decoder=decoders.WordPiece())
    assert vocabulary.forms == [Form(b"haus", True), Form(b"haus", False)]


def test_word_level() -> None:
    vocabulary = read(models.WordLevel({"Haus": 0, "[UNK]": 1}, unk_token="[UNK]"), unk_token="[UNK]")
    assert vocabulary.forms == [Form(b"Haus", True), None]


@pytest.mark.parametrize("cleanup", [True, False])
def test_wordpiece_punctuation_is_what_the_decoder_writes(cleanup) -> None:
    """With clean-up the decoder joins `,` to the word before, so it is the same as a byte-level `,`."""
    pieces = {"[UNK]": 0, "a": 1, ",": 2, "##,": 3, ";": 4, "...": 5}
    decoder = decoders.WordPiece(cleanup=cleanup)
    vocabulary = read(models.WordPiece(pieces, unk_token="[UNK]"), decoder=decoder, unk_token="[UNK]")
    for number in range(1, 6):
        written = decoder.decode(["a", list(pieces)[number]])[1:]
        assert vocabulary.forms[number].written == written.encode()
    assert vocabulary.forms[2].begins_word is not cleanup
    assert vocabulary.forms[4].begins_word


def test_holes_special_tokens_and_unknown_roles() -> None:
    backend = Tokenizer(models.BPE(vocab={"a": 0, "b": 5, "<s>": 7, "<unk>": 8}, merges=[], unk_token="<unk>"))
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens([AddedToken("<s>", special=True)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")
    vocabulary = Vocabulary.from_tokenizer(tokenizer, name="made")
    assert vocabulary.size == 9
    assert vocabulary.tokens == ["a", None, None, None, None, "b", None, "<s>", "<unk>"]
    assert [number for number, form in enumerate(vocabulary.forms) if form is not None] == [0, 5]
    assert vocabulary.roles == {"bos": 7}
    assert vocabulary.special_ids == {7, 8}  # the model's own unknown piece, although no role names it


def test_errors() -> None:
    with pytest.raises(InputError, match="tokenizer of donor: ByT5Tokenizer is a slow tokenizer; expected a fast one"):
        Vocabulary.from_tokenizer(ByT5Tokenizer(), name="donor")
    with pytest.raises(InputError, match="decoder has a step 'CTC', whose pieces are not understood"):
        read(bpe("a"), decoder=decoders.CTC())
    with pytest.raises(InputError, match="does not tell where a word begins"):
        read(bpe("a"), pre_tokenizer=pre_tokenizers.Whitespace())
    with pytest.raises(InputError, match="its vocabulary is empty"):
        read(bpe(), decoder=decoders.Metaspace())
    with pytest.raises(InputError, match="it has 1 tokens, but ids up to 2000000"):
        read(models.BPE(vocab={"a": 2_000_000}, merges=[]), decoder=decoders.Metaspace())


def test_a_decoder_written_in_python_is_refused() -> None:
    class Shout:
        def decode_chain(self, tokens: list[str]) -> list[str]:
            return [token.upper() for token in tokens]

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(bpe("a")))
    tokenizer.backend_tokenizer.decoder = decoders.Decoder.custom(Shout())
    with pytest.raises(InputError, match="tokenizer of made: its Decoder step has no definition: "):
        Vocabulary.from_tokenizer(tokenizer, name="made")
