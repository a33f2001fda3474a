"""A small moved model, its source and its donor; and a moved model that is made up of tensors alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from factories import small_llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import salt_ext
from salt_ext.diagnosis.subject import Subject
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.vocab import Vocabulary

SHARED = ["an", "en", "ter", "lo", "mi", "sa", "ka", "é"]
# What a page must show as text whatever it is.
HOSTILE = "</script><img src=x onerror=alert(1)>"
VOID = {"meta", "input", "br", "hr", "img", "link"}


def text_of(syllables: Sequence[str], seed: int, lines: int = 200) -> list[str]:
    """Lines of words made of random syllables, and numbers."""
    generator = np.random.default_rng(seed)
    lexicon = ["".join(generator.choice(syllables, size=generator.integers(1, 4))) for _ in range(200)]
    drawn = [lexicon[number] for number in generator.zipf(1.3, size=10 * lines) % len(lexicon)]
    return [f"{' '.join(drawn[n : n + 10])} {generator.integers(1000)}" for n in range(0, 10 * lines, 10)]


def byte_level(
    lines: Sequence[str], size: int, *, digits: bool = False, extra: Sequence[str] = ()
) -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE; with `digits` every digit is a token of its own."""
    inner = Tokenizer(models.BPE())
    parts = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    inner.pre_tokenizer = pre_tokenizers.Sequence([*parts, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=[*special.values()], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(lines, trainer)
    inner.add_tokens(list(extra))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **special)


def save_model(folder: Path, tokenizer: transformers.PreTrainedTokenizerBase, seed: int, **changes: Any) -> Path:
    """A random model whose rows share a large part, as those of real ones do."""
    torch.manual_seed(seed)
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    sizes = {"max_position_embeddings": 64, "num_hidden_layers": 2} | changes
    model = transformers.LlamaForCausalLM(small_llama(len(tokenizer), tie_word_embeddings=True, **ids, **sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
        model.get_input_embeddings().weight.add_(0.5)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = byte_level(text_of([*SHARED, "wor", "th", "ing"], 1), 360, digits=True)
    return save_model(tmp_path_factory.mktemp("models") / "source", tokenizer, 1)


@pytest.fixture(scope="session")
def donor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = byte_level(text_of([*SHARED, "sch", "über", "ung"], 2), 400, extra=[HOSTILE])
    return save_model(tmp_path_factory.mktemp("models") / "donor", tokenizer, 2, hidden_size=24)


@pytest.fixture(scope="session")
def moved(tmp_path_factory: pytest.TempPathFactory, source: Path, donor: Path) -> Path:
    """What a transfer of the two made; tests do not write into it."""
    output = tmp_path_factory.mktemp("moved") / "moved"
    salt_ext.transfer(source, donor, output, method="salt", progress=False, threads=1)
    return output


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "new.txt"
    file.write_text("\n".join(text_of([*SHARED, "sch", "über", "ung"], 3, lines=40)) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def diagnosis(tmp_path_factory: pytest.TempPathFactory, moved: Path, text: Path) -> salt_ext.Diagnosis:
    """Of the moved model, with all parts."""
    page = tmp_path_factory.mktemp("page") / "page.html"
    return salt_ext.diagnose(moved, page=page, text=[text], source_text=[text], progress=False, threads=1)


@pytest.fixture
def made_up() -> Callable[..., Subject]:
    """A moved model without files: (vocabulary, table, copied target -> source, weights of rows)."""

    def make(
        vocabulary: Vocabulary,
        table: torch.Tensor,
        copies: dict[int, int],
        rows: dict[int, dict[int, float]],
        *,
        source_rows: int,
    ) -> Subject:
        weights = {target: {old: 1.0} for target, old in copies.items()} | rows
        crow, col, values, provenance = [0], [], [], []
        for number in range(vocabulary.size):
            entries = sorted(weights.get(number, {}).items())
            col += [old for old, _ in entries]
            values += [weight for _, weight in entries]
            crow.append(len(col))
            kinds = {True: Provenance.COPIED, False: Provenance.REGRESSED}
            provenance.append(kinds[number in copies] if entries else Provenance.AVERAGED)
        plan = TransferPlan(
            torch.tensor(crow),
            torch.tensor(col, dtype=torch.int64),
            torch.tensor(values, dtype=torch.float32),
            torch.tensor(provenance, dtype=torch.uint8),
            torch.full((vocabulary.size,), torch.nan),
            source_rows=source_rows,
            seed=0,
        )
        nothing: Any = SimpleNamespace()
        names: list[str | None] = [f"s{number}" for number in range(source_rows)]
        subject = Subject(Path("made-up"), {}, plan, nothing, nothing, vocabulary, names)
        subject.__dict__["table"] = table
        return subject

    return make


class Page(HTMLParser):
    """A page as elements; every element must be closed in the order in which it was opened."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.elements if name == tag)

    def text_in(self, tag: str) -> str:
        return "".join(data for name, data in self.texts if name == tag)

    @property
    def token_data(self) -> Any:
        """What the page's script reads."""
        return json.loads(next(data for tag, data in self.texts if tag == "script" and data.startswith("{")))


@pytest.fixture
def parsed() -> Callable[[Path], Page]:
    return lambda file: Page(file.read_text(encoding="utf-8"))
