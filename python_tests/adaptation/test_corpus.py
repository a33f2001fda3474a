"""What is trained on and what is measured on: apart, complete, the same whatever the budget, and found again."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("datasets", reason="texts are streamed by datasets")

import datasets
from tokenizers import Regex, normalizers

from salt_ext.adaptation import corpus as corpus_module
from salt_ext.adaptation.corpus import read_corpus
from salt_ext.adaptation.documents import open_sources
from salt_ext.errors import InputError

from .conftest import byte_tokenizer, write_text

BEGIN = 0  # the id of <s>, which comes before every document


@pytest.fixture
def read(tmp_path):
    def call(text, eval_text=(), **changes):
        options = {"what": "text", "windows": 10_000, "context": 8, "eval_bytes": 10_000, "drop_overlap": False}
        return read_corpus(text, eval_text, byte_tokenizer(), cache=tmp_path / "cache", **{**options, **changes})

    return call


def documents_of(rows: list[list[int]]) -> list[str]:
    """By a loop over bytes, one a token: what the windows say, joined and cut at the beginnings."""
    tokenizer = byte_tokenizer()
    stream = [token for row in rows for token in row]
    parts: list[list[int]] = []
    for token in stream:
        if token == BEGIN:
            parts.append([])
        else:
            parts[-1].append(token)
    return [tokenizer.decode(part) for part in parts]


def test_every_document_is_trained_on_or_measured_on(read, tmp_path):
    file = write_text(tmp_path / "a.txt", "abcde")
    lines = file.read_text().splitlines()
    made = read([file])
    trained = documents_of(made.windows["input_ids"])
    tokenizer = byte_tokenizer()
    measured = [tokenizer.decode(p) for p in split(made.held_out.ids.tolist())]
    assert trained[:-1] == [line for line in lines if line not in measured][: len(trained) - 1]
    assert 0 < len(measured) < len(lines) / 10
    assert not set(measured) & set(trained)
    # All but less than one window at the end.
    assert sum(map(len, lines)) + len(lines) - sum(len(line) + 1 for line in measured) - 8 * len(made.windows) < 8


def split(ids: list[int]) -> list[list[int]]:
    parts: list[list[int]] = []
    for token in ids:
        if token == BEGIN:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def test_what_is_measured_depends_on_the_text_alone(read, tmp_path):
    file, other = write_text(tmp_path / "a.txt", "abcde"), tmp_path / "b.txt"
    whole = read([file])
    assert read([file], windows=2).held_out.ids.tolist() == whole.held_out.ids.tolist()
    assert len(read([file], windows=2).windows) == 2
    # Equal documents are on one side, wherever they stand.
    other.write_text(file.read_text() + file.read_text())
    twice = split(read([other]).held_out.ids.tolist())
    assert twice == 2 * split(whole.held_out.ids.tolist())


def test_a_text_is_encoded_once(read, tmp_path, monkeypatch):
    file = write_text(tmp_path / "a.txt", "abcde")
    made = read([file])
    with monkeypatch.context() as patched:
        patched.setattr(corpus_module, "_windows", None)
        again = read([file])
    assert again.windows["input_ids"] == made.windows["input_ids"]
    assert again.key == made.key
    assert read([file], context=4).key != made.key
    file.write_text(file.read_text() + "more of it\n")
    assert read([file]).key != made.key


def test_a_run_that_ends_while_it_encodes_leaves_nothing_to_be_taken_for_whole(read, tmp_path, monkeypatch):
    file = write_text(tmp_path / "a.txt", "abcde")
    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            read([file])
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(read([file]).windows) > 100


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_line_of_the_evaluation_in_the_text_is_refused(read, tmp_path):
    file, evaluation = write_text(tmp_path / "a.txt", "abcde"), tmp_path / "eval.txt"
    shared = file.read_text().splitlines()[123]
    evaluation.write_text(f"a line of nobody else, long enough\n  {shared}\t\n")
    with pytest.raises(InputError, match=rf"a\.txt holds a line of the evaluation text, '{shared[:30]}"):
        read([file], [evaluation])
    made = read([file], [evaluation], drop_overlap=True)
    assert shared not in documents_of(made.windows["input_ids"])
    assert made.facts["documents_left_out"] == 1
    # Short lines stand in many texts.
    evaluation.write_text("a line of nobody else, long enough\nabc\n")
    file.write_text("abc\n" + file.read_text())
    assert read([file], [evaluation]).facts["documents_left_out"] == 0


def test_a_line_within_a_longer_document_is_found(read, tmp_path):
    file, evaluation = tmp_path / "a.jsonl", tmp_path / "eval.txt"
    inner = "this sentence is measured, and long enough"
    file.write_text(json.dumps({"text": f"first\n{inner}\nlast", "id": 1}) + "\n")
    evaluation.write_text(inner + "\n")
    with pytest.raises(InputError, match="holds a line of the evaluation text"):
        read([file], [evaluation])


def test_formats(read, tmp_path):
    documents = [f"document {n}\nof two lines" for n in range(100)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": d, "id": 1}) + "\n" for d in documents))
    (tmp_path / "a.tsv").write_text("id\ttext\n" + "".join(f"1\tdocument {n}\n" for n in range(3)))
    (tmp_path / "b.csv").write_text("one,two\n1,2\n")
    assert list(open_sources([tmp_path / "a.jsonl"], what="text")[0].documents()) == documents
    assert list(open_sources([tmp_path / "a.tsv"], what="text")[0].documents()) == [f"document {n}" for n in range(3)]
    with pytest.raises(InputError, match=r"b\.csv has the columns one, two; expected one named text"):
        open_sources([tmp_path / "b.csv"], what="text")
    with pytest.raises(InputError, match=r"missing\.jsonl: no such file"):
        open_sources([str(tmp_path / "missing.jsonl")], what="text")


@pytest.mark.slow
def test_data_sets(read, tmp_path):
    """As `datasets` saves them, and folders of files that it knows; another version is another text."""
    documents = [f"document {n}" for n in range(100)]
    made = datasets.Dataset.from_dict({"text": documents, "id": list(range(100))})
    made.save_to_disk(tmp_path / "saved")
    (tmp_path / "files").mkdir()
    made.to_parquet(tmp_path / "files" / "train.parquet")
    keys = []
    for folder in ("saved", "files"):
        source = open_sources([tmp_path / folder], what="text")[0]
        assert list(source.documents()) == documents
        keys.append(source.key)
    made.select(range(50)).to_parquet(tmp_path / "files" / "train.parquet")
    assert open_sources([tmp_path / "files"], what="text")[0].key != keys[1]
    with pytest.raises(InputError, match="text nobody/has-it is no file and no data set that can be opened"):
        open_sources(["nobody/has-it"], what="text")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b" \n\n\t\n", "holds no text"),
        (b"abc\xff\n", "is not UTF-8"),
        (b"one line\n", "none is left out to measure on"),
    ],
)
def test_texts_that_are_none(read, tmp_path, content, said):
    file = tmp_path / "a.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read([file])


def test_a_tokenizer_that_makes_nothing_of_the_text(tmp_path):
    file, tokenizer = write_text(tmp_path / "a.txt", "abcde"), byte_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace(Regex(".*"), "")
    sizes = {"windows": 9, "context": 8, "eval_bytes": 100, "drop_overlap": False}
    with pytest.raises(InputError, match=r"the tokenizer makes no token of .*a\.txt"):
        read_corpus([file], (), tokenizer, what="text", cache=tmp_path / "cache", **sizes)


def test_every_text_gives_its_part(read, tmp_path):
    first, second = write_text(tmp_path / "a.txt", "abc", lines=900), write_text(tmp_path / "b.txt", "xyz", lines=900)
    made = read([first, second], windows=20, eval_bytes=400)
    told = documents_of(made.windows["input_ids"][:20]), documents_of([[BEGIN, *made.windows["input_ids"][20]]])
    assert set("".join(told[0])) <= set("abc ")
    assert set("".join(told[1])) <= set("xyz ")
    assert len(made.windows) == 40
    letters = [byte_tokenizer().decode(part) for part in split(made.held_out.ids.tolist())]
    assert sum(set(each) <= set("abc ") for each in letters) > 1
    assert sum(set(each) <= set("xyz ") for each in letters) > 1
