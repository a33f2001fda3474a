"""Which rows were trained: made tables whose answer is known, and real ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from salt_ext.checkpoint import Checkpoint
from salt_ext.tokenizer.trained import known_unused, ordinary_sample, trained_rows
from salt_ext.vocab import Form, Vocabulary, load_tokenizer

WIDTH = 64


def rows(count: int, *, scale: float, seed: int, centre: torch.Tensor | float = 0.0) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed)) * scale + centre


ORDINARY = rows(300, scale=1.0, seed=1, centre=rows(1, scale=0.5, seed=2))
TRAINED = rows(4, scale=1.0, seed=3, centre=rows(1, scale=0.5, seed=2))
# Where training never comes: small as at the beginning, zero, the mean that a table is extended by, all the same, or
# pushed away together by the softmax of a tied head.
START = rows(12, scale=0.02, seed=4)
PUSHED = rows(12, scale=0.4, seed=5, centre=-3.0)
UNTRAINED = {
    "small": START,
    "zero": torch.zeros(6, WIDTH),
    "mean": ORDINARY.mean(dim=0) + rows(6, scale=1e-4, seed=6),
    "one of its kind is the mean": ORDINARY.mean(dim=0) + rows(1, scale=1e-4, seed=6),
    "equal": rows(1, scale=1.0, seed=7).expand(6, WIDTH) + rows(6, scale=1e-3, seed=8),
}


@pytest.mark.parametrize("name", sorted(UNTRAINED))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_a_row_that_is_known_to_be_unused(name, dtype) -> None:
    given = torch.cat([TRAINED[:2], UNTRAINED[name], TRAINED[2:]]).to(dtype)
    found = trained_rows(given, [], ORDINARY.to(dtype))
    assert found.tolist() == [True] * 2 + [False] * len(UNTRAINED[name]) + [True] * 2


def test_rows_like_the_known_unused_ones() -> None:
    """Neither small nor nearly equal: only the others of their kind tell. Each kind is looked at by itself."""
    kinds = [PUSHED[:8], rows(8, scale=0.4, seed=9, centre=2.0)]
    given = torch.cat([TRAINED, PUSHED[8:]])
    assert trained_rows(given, kinds, ORDINARY).tolist() == [True] * 4 + [False] * 4
    assert trained_rows(given, [], ORDINARY).tolist() == [True] * 8
    assert trained_rows(given, [PUSHED[:3]], ORDINARY).tolist() == [True] * 8  # three are too few to tell a kind


def test_rows_as_long_as_the_known_unused_ones() -> None:
    """At the length that they were drawn with, in directions of their own; ordinary ones have grown."""
    drawn = rows(20, scale=1.0, seed=10)
    grown = rows(300, scale=2.5, seed=11)
    given = torch.cat([rows(3, scale=2.5, seed=12), drawn[16:]])
    assert trained_rows(given, [drawn[:16]], grown).tolist() == [True] * 3 + [False] * 4


def test_random_weights_tell_nothing() -> None:
    """Nor do unused rows that ordinary tokens resemble: then every row is kept."""
    table = rows(400, scale=0.02, seed=13)
    assert bool(trained_rows(table[:20], [table[20:60]], table[60:]).all())


@pytest.mark.parametrize(("given", "ordinary"), [(0, 5), (3, 0)])
def test_nothing_to_compare(given, ordinary) -> None:
    table = rows(8, scale=1.0, seed=14)
    assert trained_rows(table[:given], [table[:0]], table[:ordinary]).tolist() == [True] * given


def test_more_rows_than_a_block() -> None:
    given = torch.cat([rows(1500, scale=1.0, seed=15), torch.zeros(2, WIDTH)])
    found = trained_rows(given, [], ORDINARY)
    assert found.nonzero().flatten().tolist() == list(range(1500))


def test_rows_that_no_text_uses() -> None:
    def plain(data: bytes) -> Form:
        return Form(data, False)

    tokens = ["a", "Á", None, "<|reserved_7|>", "[unused1]", "unused", "ÿ", "\xc0\xc1"]
    data = [b"a", b"\xc3", b"", b"", b"", b"unused", b"\xff", b"\xc0\xc1"]
    forms = [plain(one) if one else None for one in data]
    vocabulary = Vocabulary("made", "made", 8, list(tokens), forms, {}, frozenset({3, 4}), frozenset())
    assert known_unused(vocabulary, 10) == [[2, 8, 9], [3, 4], [6]]
    assert ordinary_sample(vocabulary) == [0, 1, 5, 6, 7]
    assert [len(kind) for kind in known_unused(vocabulary, 8000)] == [64, 2, 1]


def judged(folder: Path) -> dict[str, bool]:
    """Every special token of a model, and whether it was trained."""
    model = Checkpoint.open(folder, only_input=True)
    vocabulary = Vocabulary.from_tokenizer(load_tokenizer(folder), name="real")
    ids = sorted(vocabulary.special_ids)
    unused = [model.input_rows(kind) for kind in known_unused(vocabulary, model.rows)]
    found = trained_rows(model.input_rows(ids), unused, model.input_rows(ordinary_sample(vocabulary)))
    return {str(vocabulary.tokens[number]): yes for number, yes in zip(ids, found.tolist(), strict=True)}


@pytest.mark.parametrize("name", ["en-llama", "de-gpt"])
def test_real_models(real_data, name) -> None:
    """Trained with `<s>` before every text, and with no other special token in their inputs."""
    assert judged(real_data / "models" / name) == {"<s>": True, "</s>": False, "<pad>": False, "<unk>": False}


def test_a_real_encoder(real) -> None:
    """Its special tokens were trained; of its places that were kept free none was."""
    folder = Path(real("minilm").name_or_path)
    assert all(judged(folder).values())
    model = Checkpoint.open(folder, only_input=True)
    vocabulary = Vocabulary.from_tokenizer(real("minilm"), name="real")
    free = [number for number, token in enumerate(vocabulary.tokens) if str(token).startswith("[unused")]
    unused = [model.input_rows(free[:50])]
    found = trained_rows(model.input_rows(free[50:]), unused, model.input_rows(ordinary_sample(vocabulary)))
    assert len(free) > 900
    assert int(found.sum()) < 0.02 * len(found)
