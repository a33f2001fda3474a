"""Rows that learn on top of a frozen model, beside the same model whose tables really hold them."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers
from factories import small_llama
from torch.nn.functional import cross_entropy

from salt_ext.distillation.learned_rows import LearnedRows
from salt_ext.distillation.states import layers_of, read
from salt_ext.errors import InputError

ROWS = torch.tensor([2, 3, 11, 19])
# New tokens that no text holds: they have the common difference alone.
OTHERS = torch.tensor([4, 7])
IDS = torch.tensor([[2, 5, 3, 2, 0], [11, 11, 1, 7, 19]])


def llama(*, tied: bool) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    config = small_llama(20, tie_word_embeddings=tied, pad_token_id=2, num_hidden_layers=3)
    return transformers.LlamaForCausalLM(config)


def gemma(*, tied: bool) -> transformers.PreTrainedModel:
    """Scales what it looks up."""
    torch.manual_seed(0)
    config = transformers.Gemma3TextConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
        tie_word_embeddings=tied,
        pad_token_id=2,
    )
    return transformers.Gemma3ForCausalLM(config)


def with_rows(model: transformers.PreTrainedModel, learned: LearnedRows) -> transformers.PreTrainedModel:
    """The model with the differences in its tables, and gradients for all of them."""
    other = copy.deepcopy(model).requires_grad_(True)
    # Such an id would get no gradient, and is a token like any other here.
    other.get_input_embeddings().padding_idx = None
    with torch.no_grad():
        tables = [(other.get_input_embeddings().weight, learned.input)]
        tables += [] if learned.tied else [(other.get_output_embeddings().weight, learned.head)]
        for table, found in tables:
            common = features_of(table) @ found.common
            table[ROWS] += found.own
            table[torch.cat([ROWS, OTHERS])] += common
    return other


def features_of(table: torch.Tensor) -> torch.Tensor:
    """1, and the rows of new tokens as the map sees them, by the definition; 16 numbers wide, the rank is 16, too."""
    rows = table.detach()[torch.cat([ROWS, OTHERS])].double()
    projection = torch.randn(16, 16, generator=torch.Generator().manual_seed(0)).double()
    projected = ((rows - rows.mean(dim=0)) / rows.square().mean().sqrt()) @ projection / 4
    return torch.cat([torch.ones(len(rows), 1), projected.float()], dim=1)


def draw(learned: LearnedRows) -> None:
    for table in learned.tables.values():
        for part in (table.own, table.common):
            torch.nn.init.normal_(part, std=0.1)


def loss_of(model: transformers.PreTrainedModel) -> torch.Tensor:
    logits = model(input_ids=IDS, use_cache=False).logits[:, :-1]
    return cross_entropy(logits.flatten(0, 1), IDS[:, 1:].flatten())


@pytest.mark.parametrize("make", [llama, gemma])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_is_the_model_with_other_rows(make, tied):
    model = make(tied=tied)
    learned = LearnedRows(model, ROWS, OTHERS)
    assert learned.tied == tied
    draw(learned)
    other = with_rows(model, learned)
    with learned.in_place():
        found, loss = model(input_ids=IDS, use_cache=False).logits, loss_of(model)
    torch.testing.assert_close(found, other(input_ids=IDS, use_cache=False).logits, rtol=1e-4, atol=1e-5)
    loss.backward()
    loss_of(other).backward()
    tables = [(other.get_input_embeddings().weight.grad, learned.input)]
    tables += [] if tied else [(other.get_output_embeddings().weight.grad, learned.head)]
    for gradient, found in tables:
        torch.testing.assert_close(found.own.grad, gradient[ROWS], rtol=1e-3, atol=1e-6)
        common = found.features.T @ gradient[torch.cat([ROWS, OTHERS])]
        torch.testing.assert_close(found.common.grad, common, rtol=1e-3, atol=1e-6)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_model_is_as_before_behind_the_block():
    model = llama(tied=True)
    learned = LearnedRows(model, ROWS, OTHERS)
    before = model(input_ids=IDS).logits
    draw(learned)
    with learned.in_place():
        assert not torch.equal(model(input_ids=IDS).logits, before)
    with pytest.raises(IndexError), learned.in_place():
        model(input_ids=IDS + 100)
    assert torch.equal(model(input_ids=IDS).logits, before)


def test_small_differences_move_a_half_table():
    """Summed before rounding, many steps of a thousandth are not lost in bfloat16."""
    model = llama(tied=True).bfloat16()
    learned = LearnedRows(model, ROWS, OTHERS)
    assert learned.input.own.dtype == torch.float32
    with torch.no_grad():
        learned.input.own.add_(0.25 * model.get_input_embeddings().weight[ROWS].float())
    with learned.in_place():
        found = model.get_input_embeddings()(ROWS)
    expected = (1.25 * model.get_input_embeddings().weight[ROWS].float()).bfloat16()
    assert torch.equal(found, expected)


def test_a_model_without_a_head_is_refused():
    body = transformers.LlamaModel(small_llama(20))
    with pytest.raises(InputError, match=r"a NoneType, expected an Embedding and a Linear"):
        LearnedRows(body, ROWS, OTHERS)


@pytest.mark.parametrize("layer", [1, 2])
def test_states_are_those_behind_the_layer(layer):
    model = llama(tied=True)
    expected = model(input_ids=IDS, output_hidden_states=True)
    found = read(model, IDS, layer=layer, logits=True)
    assert torch.equal(found.states, expected.hidden_states[layer])
    assert torch.equal(found.logits, expected.logits)


def test_no_layer_is_run_that_nobody_asked_for():
    model = llama(tied=True)
    run = []
    for number, layer in enumerate(layers_of(model)):
        layer.register_forward_hook(lambda *_, number=number: run.append(number))
    assert read(model, IDS, layer=2, logits=False).logits is None
    assert run == [0, 1]
    assert read(model, IDS, layer=None, logits=False) == (None, None)
    assert run == [0, 1]
