"""One body under the tables of many plans: as if each plan's model had been written and opened, and no trace stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import salt_ext
from salt_ext.comparison import body as module
from salt_ext.comparison import slots
from salt_ext.comparison.body import Body
from salt_ext.comparison.method_spec import parse_methods
from salt_ext.errors import InputError
from salt_ext.evaluation.measuring import StoppedError
from salt_ext.evaluation.text import token_stream
from salt_ext.pair.pair import match_pair, moved_rows, open_pair
from salt_ext.pair.tables import PairTables
from salt_ext.runtime.progress import Clock
from salt_ext.vocab import load_tokenizer

from .conftest import ONLY_TARGET, SHARED, text_of

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
true = slots._candidates
TRAINING = {"steps": 3, "tokens_per_step": 128, "lr": 1e-2, "seed": 0}
_SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}
_SIZE |= {"intermediate_size": 64, "num_key_value_heads": 2}
_GEMMA = {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}
_PER_LAYER = {"hidden_size_per_layer_input": 8, "num_kv_shared_layers": 0, "laurel_rank": 8}
# How the tables of each family lie: tied; untied, in bfloat16; with a bias; scaled by the module; one more for layers.
FAMILIES: dict[str, tuple[dict[str, Any], bool]] = {
    "llama": ({"tie_word_embeddings": True}, True),
    "mistral": ({"tie_word_embeddings": False, "dtype": torch.bfloat16}, True),
    "phi": ({}, True),
    "gemma3_text": (_GEMMA, True),
    "gemma3n_text": (_GEMMA | _PER_LAYER, False),
}


class World:
    """A source of a family, its plans by method, and a text."""

    def __init__(self, folder: Path, donor: Path) -> None:
        self.folder, self.donor = folder, donor
        self.pair = open_pair(folder, donor)
        self.anchors = match_pair(self.pair)
        material = PairTables(self.pair, None, Clock()).material(self.anchors, seed=0)
        chosen = parse_methods("subword")
        self.plans = {c.label: c.plan(material, rows=moved_rows(self.pair))[0] for c in chosen}
        tokenizer = self.pair.target.tokenizer
        self.text = token_stream(tokenizer, text_of(SHARED + ONLY_TARGET, 21, 200))
        self.training = token_stream(tokenizer, text_of(SHARED + ONLY_TARGET, 22, 600))

    def body(self, dtype: torch.dtype = torch.float32) -> Body:
        return Body.open(self.pair, self.anchors, device=CPU, dtype=dtype)

    def adapt(self, body: Body, plan: Any, **options: Any) -> Any:
        return body.adapt_and_measure(plan, self.training, self.text, **(TRAINING | options))


@pytest.fixture(scope="module")
def world(tmp_path_factory, source_tokenizer, donor):
    made: dict[str, World] = {}

    def of(kind: str) -> World:
        if kind not in made:
            folder = tmp_path_factory.mktemp("bodies") / kind
            options, _ = FAMILIES[kind]
            rows = len(source_tokenizer) + 3
            ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
            config = transformers.AutoConfig.for_model(kind, vocab_size=rows, **_SIZE, **ids, **options)
            if kind == "gemma3n_text":
                config.vocab_size_per_layer_input = rows
            torch.manual_seed(7)
            model = transformers.AutoModelForCausalLM.from_config(config)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.normal_(0, 0.3)
            model.to(options.get("dtype", torch.float32)).save_pretrained(folder)
            source_tokenizer.save_pretrained(folder)
            made[kind] = World(folder, donor)
        return made[kind]

    return of


@pytest.fixture
def logits(monkeypatch) -> list[torch.Tensor]:
    """All that models gave while they were measured."""
    seen: list[torch.Tensor] = []
    compute = module.measure_stream.__globals__["logits_of"]

    def spy(model: Any, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = compute(model, inputs)
        seen.append(found.clone())
        return found

    monkeypatch.setitem(module.measure_stream.__globals__, "logits_of", spy)
    return seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", FAMILIES)
def test_every_plan_is_measured_as_the_model_that_transfer_writes(kind, dtype, world, logits, tmp_path):
    """Bit for bit, whatever was measured and trained before it."""
    made = world(kind)
    body = made.body(dtype)
    body.measure(made.plans["random"], made.text)
    assert body.swaps == FAMILIES[kind][1]
    made.adapt(body, made.plans["mean"])
    made.adapt(body, made.plans["mean"], only_new_rows=True)
    logits.clear()
    score = body.measure(made.plans["subword"], made.text)
    found = list(logits)
    logits.clear()

    salt_ext.transfer(made.folder, made.donor, tmp_path / "out", method="subword")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    stream = token_stream(load_tokenizer(tmp_path / "out"), text_of(SHARED + ONLY_TARGET, 21, 200))
    expected = module.measure_stream(model, stream, context=64, dtype=dtype)
    assert score == expected
    assert len(found) == len(logits) > 0
    assert all(torch.equal(one, other) for one, other in zip(found, logits, strict=True))
    assert len({body.measure(plan, made.text).bits for plan in made.plans.values()}) == 3


@pytest.mark.parametrize("kind", ["llama", "phi", "gemma3n_text"])
def test_a_training_is_that_of_a_model_opened_for_it(kind, world):
    """Neither what came before nor the measuring in between changes it."""
    made = world(kind)
    plan = made.plans["subword"]
    for options in ({}, {"only_new_rows": True}):
        alone = made.adapt(made.body(), plan, **options)
        body = made.body()
        before = body.measure(plan, made.text)
        made.adapt(body, made.plans["random"])
        assert made.adapt(body, plan, **options) == alone
        assert body.measure(plan, made.text) == before
        assert alone.bits < before.bits


@pytest.mark.parametrize("kind", FAMILIES)
def test_new_rows_alone_are_trained(kind, world, monkeypatch):
    """All other numbers stay bit for bit; in every table of the family."""
    made = world(kind)
    plan = made.plans["subword"]
    states: list[dict[str, torch.Tensor]] = []
    train = module.adapt_stream

    def spy(model: Any, *given: Any, **options: Any) -> Any:
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        losses = train(model, *given, **options)
        states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
        return losses

    monkeypatch.setattr(module, "adapt_stream", spy)
    made.adapt(made.body(), plan, only_new_rows=True)
    before, after = states
    new = torch.ones(plan.target_rows, dtype=torch.bool)
    new[plan.copies()[0]] = False
    new[made.pair.target.vocabulary.size :] = False
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    tables = {"model.embed_tokens.weight", "lm_head.weight", "lm_head.bias"} & before.keys()
    assert moved == tables
    seen = torch.zeros_like(new)
    for name in tables:
        changed = (before[name] != after[name]).reshape(plan.target_rows, -1).any(1)
        assert not bool((changed & ~new).any())
        seen |= changed
    assert torch.equal(seen, new)


def test_a_body_is_written_and_opened_once(world, monkeypatch):
    made, opened = world("llama"), []
    open_moved = module.open_moved
    monkeypatch.setattr(module, "open_moved", lambda *given, **more: opened.append(1) or open_moved(*given, **more))
    body = made.body()
    for plan in made.plans.values():
        body.measure(plan, made.text)
        made.adapt(body, plan)
    assert len(opened) == 1


def test_a_tensor_that_nobody_knows_has_every_model_written(world, monkeypatch, tmp_path):
    """A second reader of the table's rows, as some models keep one, would stay behind."""
    made = world("llama")
    build = transformers.LlamaForCausalLM.__init__

    def with_more(self: Any, config: Any) -> None:
        build(self, config)
        self.register_buffer("counts", torch.zeros(config.vocab_size), persistent=False)

    monkeypatch.setattr(transformers.LlamaForCausalLM, "__init__", with_more)
    body = made.body()
    body.measure(made.plans["mean"], made.text)
    assert not body.swaps


def test_a_tensor_that_lies_nowhere_has_every_model_written(world, monkeypatch):
    """A head whose bias no accessor shows would keep the first plan's numbers."""
    made = world("phi")
    monkeypatch.setattr(slots, "_candidates", lambda model, tensors: dict(list(true(model, tensors).items())[:-1]))
    body = made.body()
    body.measure(made.plans["mean"], made.text)
    assert not body.swaps


def test_a_stop_ends_the_work_and_leaves_nothing(world):
    made = world("llama")
    plan = made.plans["subword"]
    body = made.body()
    before = body.measure(plan, made.text)
    with pytest.raises(StoppedError):
        body.measure(plan, made.text, stop=lambda: True)
    asked: list[int] = []
    with pytest.raises(StoppedError):  # in the midst of the training
        made.adapt(body, plan, stop=lambda: asked.append(1) or len(asked) > 2)
    assert len(asked) == 3
    assert body.measure(plan, made.text) == before


def test_a_text_too_short_to_train_on_leaves_nothing(world):
    made = world("llama")
    body = made.body()
    before = body.measure(made.plans["mean"], made.text)
    short = made.training._replace(ids=made.training.ids[:9])
    with pytest.raises(InputError, match="the text has 9 tokens"):
        body.adapt_and_measure(made.plans["mean"], short, made.text, **TRAINING)
    assert body.measure(made.plans["mean"], made.text) == before
