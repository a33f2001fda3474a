"""States and the two parts of the cost, where what they must be is known: one model beside itself with other tables."""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from factories import small_llama

from salt_ext.diagnosis.controls import mean_inputs, rows_replaced
from salt_ext.diagnosis.states import compare_states
from salt_ext.evaluation.precision import fast_dtype
from salt_ext.evaluation.text import measure_stream, token_stream
from salt_ext.plan import Provenance

from .conftest import SHARED, byte_level, text_of

PASSAGES = ["\n".join(text_of(SHARED, seed, lines=3)) for seed in (5, 6)]


@pytest.fixture(scope="module")
def tokenizer():
    return byte_level(text_of(SHARED, 1), 340)


@pytest.fixture(scope="module")
def model(tokenizer):
    """Untied, so that input and head can be changed one at a time."""
    torch.manual_seed(0)
    config = small_llama(len(tokenizer), num_hidden_layers=2, tie_word_embeddings=False)
    made = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(0, 0.3)
    return made


@pytest.fixture(scope="module")
def is_new(tokenizer):
    """Every third token of those that the trainer joined."""
    new = torch.zeros(len(tokenizer), dtype=torch.bool)
    new[260::3] = True
    return new


@pytest.fixture(scope="module")
def subject(tokenizer, is_new):
    provenance = torch.where(is_new, Provenance.REGRESSED, Provenance.COPIED)
    return SimpleNamespace(
        tokenizer=tokenizer,
        is_new=is_new,
        plan=SimpleNamespace(provenance=provenance),
        vocabulary=SimpleNamespace(size=len(is_new)),
        name=str,
    )


def compared(subject, moved, source, tokenizer, **changes):
    options = {"context": 64, "dtype": torch.float32} | changes
    return compare_states(subject, moved, source, tokenizer, PASSAGES, **options)


def changed(model, is_new, *, head: bool):
    other = copy.deepcopy(model)
    table = other.lm_head.weight if head else other.model.embed_tokens.weight
    with torch.no_grad():
        table[is_new] += torch.randn(int(is_new.sum()), table.shape[1], generator=torch.Generator().manual_seed(1))
    return other


def test_a_model_beside_itself(subject, model, tokenizer):
    found = compared(subject, model, model, tokenizer)
    assert all(layer.anchors == layer.new == 0 for layer in found.layers)
    assert len(found.layers) == 3
    assert all(abs(cell.head) < 1e-5 and cell.input == 0 for cell in found.cells)
    assert found.covered > 0.9
    assert all(layer.control > 0.1 for layer in found.layers)


def test_the_sources_part_is_its_bits(subject, model, tokenizer):
    """Summed token by token with the model's own logits."""
    found = compared(subject, model, model, tokenizer)
    bits = written = 0.0
    for passage in PASSAGES:
        encoded = tokenizer(passage, add_special_tokens=False, return_offsets_mapping=True)
        ids, ends = encoded["input_ids"][:63], [end for _, end in encoded["offset_mapping"]][:63]
        with torch.no_grad():
            logits = model(torch.tensor([[tokenizer.bos_token_id, *ids]])).logits[0].double()
        for place in range(1, len(ids)):
            probabilities = logits[place].softmax(0)
            bits -= math.log2(float(probabilities[ids[place]]))
            written += len(passage[ends[place - 1] : ends[place]].encode())
    total = found.cells[-1]
    assert (total.read, total.said) == ("any", "any")
    assert total.bytes == written
    assert total.source == pytest.approx(bits / written, rel=1e-5)


def test_other_head_rows_are_the_heads_part(subject, model, is_new, tokenizer):
    moved = changed(model, is_new, head=True)
    found = compared(subject, moved, model, tokenizer)
    assert all(layer.anchors == layer.new == 0 for layer in found.layers)
    total = found.cells[-1]
    assert total.input == 0
    # What the moved model itself says is all that differs.
    own = compared(subject, moved, moved, tokenizer).cells[-1].source
    assert total.source + total.head == pytest.approx(own, rel=1e-5)
    assert own != pytest.approx(total.source, rel=1e-3)


def test_other_input_rows_are_the_inputs_part(subject, model, is_new, tokenizer):
    moved = changed(model, is_new, head=False)
    found = compared(subject, moved, model, tokenizer)
    total = found.cells[-1]
    assert abs(total.head) < 1e-5
    assert total.source + total.input != pytest.approx(total.source, rel=1e-3)
    assert found.layers[0].anchors == 0
    assert found.layers[0].new > 0.1
    parts = sum((cell.source + cell.head + cell.input) * cell.bytes for cell in found.cells[:-1])
    assert parts / total.bytes == pytest.approx(total.source + total.head + total.input)
    # The sum of the three is what the moved model itself says.
    own = compared(subject, moved, moved, tokenizer).cells[-1]
    assert total.source + total.head + total.input == pytest.approx(own.source, rel=1e-5)


def test_distances_are_the_formula(subject, model, is_new, tokenizer):
    moved = changed(model, is_new, head=False)
    states = {}
    for name, each in (("s", moved), ("t", model)):
        rows = []
        for passage in PASSAGES:
            ids = tokenizer(passage, add_special_tokens=False)["input_ids"][:63]
            with torch.no_grad():
                given = torch.tensor([[tokenizer.bos_token_id, *ids]])
                rows.append(each(given, output_hidden_states=True).hidden_states[1][0, 1:].double().numpy())
        states[name] = np.concatenate(rows)
    ids = [n for passage in PASSAGES for n in tokenizer(passage, add_special_tokens=False)["input_ids"][:63]]
    new = is_new.numpy()[ids]
    apart = ((states["s"] - states["t"]) ** 2).sum(axis=1)
    spread = ((states["t"] - states["t"].mean(axis=0)) ** 2).sum(axis=1).mean()
    found = compared(subject, moved, model, tokenizer).layers[1]
    lower = np.sort(apart[new])[(new.sum() - 1) // 2]  # torch's median is the lower of the middle two
    assert found.new == pytest.approx(lower / spread, rel=1e-5)


def test_what_is_said_of_new_tokens(subject, model, is_new, tokenizer):
    """A row that shouts is the first in the list, with its probability."""
    moved = copy.deepcopy(model)
    loud = int(is_new.nonzero()[-1, 0])
    with torch.no_grad():
        moved.model.norm.weight.fill_(0.0)  # every state is zero,
        moved.lm_head.weight.fill_(0.0)  # and all tokens are equally likely
    even = compared(subject, moved, model, tokenizer)
    assert even.said_new == pytest.approx(float(is_new.double().mean()), rel=1e-4)
    assert even.anchor_excess < 0.02
    moved.lm_head.bias = torch.nn.Parameter(torch.zeros(len(tokenizer)).index_fill(0, torch.tensor([loud]), 10.0))
    found = compared(subject, moved, model, tokenizer)
    assert found.said_too_often[0][0] == loud
    expected = math.exp(10) / (math.exp(10) + len(tokenizer) - 1)
    assert found.said_too_often[0][2] == pytest.approx(expected, rel=1e-4)
    assert found.said_new > 0.9 > found.true_new


def test_another_tokenizer_of_the_source(subject, model, tokenizer, source):
    """Fewer places, and each cell's bytes are those of whole new tokens."""
    other = transformers.AutoTokenizer.from_pretrained(source)
    torch.manual_seed(2)
    teacher = transformers.LlamaForCausalLM(small_llama(len(other), num_hidden_layers=2)).eval()
    found = compared(subject, model, teacher, other)
    same = compared(subject, model, model, tokenizer)
    assert 0 < found.places < same.places
    assert 0 < found.covered < 1
    assert found.cells[-1].places < found.places


def test_a_head_that_is_no_module_is_said_so(subject, model, tokenizer):
    class Bare(transformers.LlamaForCausalLM):
        def get_output_embeddings(self):
            return None

    bare = Bare(model.config).eval()
    with pytest.raises(ValueError, match="knows no head"):
        compared(subject, bare, model, tokenizer)


@pytest.mark.parametrize("control", ["mean", "random"])
def test_control_rows_come_and_go(control, model, is_new):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with rows_replaced(model, is_new, ~is_new, control):
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            now, then = model.state_dict()[name].double(), before[name].double()
            assert torch.equal(now[~is_new], then[~is_new])
            if control == "mean":
                assert torch.allclose(now[is_new], then[~is_new].mean(dim=0).expand(int(is_new.sum()), -1), atol=1e-6)
            else:
                assert torch.allclose(now[is_new].norm(dim=1), then[is_new].norm(dim=1), rtol=1e-5)
                assert torch.nn.functional.cosine_similarity(now[is_new], then[is_new]).abs().mean() < 0.5
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_mean_inputs_leave_the_head_alone(model, is_new):
    ids = torch.arange(len(is_new))[None]
    with mean_inputs(model, is_new, ~is_new), torch.no_grad():
        rows = model.get_input_embeddings()(ids)[0]
    table = model.model.embed_tokens.weight.detach()
    assert torch.equal(rows[~is_new], table[~is_new])
    assert torch.allclose(rows[is_new], table[~is_new].mean(dim=0).expand(int(is_new.sum()), -1), atol=1e-6)
    with torch.no_grad():
        assert torch.equal(model.get_input_embeddings()(ids)[0], table)


def test_costs_are_those_of_evaluation(diagnosis, moved, source, text):
    """The same text, measured by the function that compare and the benchmarks use; the controls are no better guess."""
    cost = diagnosis.facts.cost
    lines = text.read_text(encoding="utf-8").splitlines()
    for folder, expected in ((moved, cost.moved), (source, cost.source)):
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
        stream = token_stream(transformers.AutoTokenizer.from_pretrained(folder), lines)
        found = measure_stream(model, stream, context=64, dtype=fast_dtype(model.device))
        assert found.bits_per_byte == pytest.approx(expected, rel=1e-5)
    assert cost.bytes == sum(len(line.encode()) for line in lines)
    assert cost.mean_rows != cost.moved != cost.random_rows
    assert diagnosis.facts.source_cost.moved == cost.moved
    assert diagnosis.facts.source_cost.mean_rows is None
