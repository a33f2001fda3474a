"""The losses of a distillation, against their formulas in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from salt_ext.distillation.losses import chunk_log_probabilities, chunks_loss, states_loss, token_log_probabilities


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_states_are_compared_relative_to_the_teachers():
    student, teacher = numbers(7, 5), numbers(7, 5, seed=1)
    difference, norm = (student - teacher).double().numpy(), teacher.double().numpy()
    expected = (difference**2).sum() / (norm**2).sum()
    assert float(states_loss(student, teacher)) == pytest.approx(expected, rel=1e-6)
    assert float(states_loss(teacher * 2, teacher)) == pytest.approx(1)
    # The same states in other units are as far apart.
    assert float(states_loss(9 * student, 9 * teacher)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 3.0, 100.0])
def test_chunks_are_compared_as_two_sided_distributions(temperature):
    student, teacher = torch.tensor([-0.5, -3.0, -12.0, -40.0]), torch.tensor([-1.5, -3.0, -2.0, -41.0])
    q, p = (np.exp(each.double().numpy() / temperature) for each in (student, teacher))
    divergence = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    found = float(chunks_loss(student, teacher, temperature=temperature))
    assert found == pytest.approx(temperature * divergence.mean(), rel=1e-4)
    assert float(chunks_loss(teacher, teacher, temperature=temperature)) == pytest.approx(0, abs=1e-5)


def test_certain_chunks_have_finite_gradients():
    student = torch.tensor([0.0, -1e-9, -200.0], requires_grad=True)
    chunks_loss(student, torch.tensor([-1e-9, 0.0, -1e-9]), temperature=100.0).backward()
    assert student.grad is not None
    assert bool(student.grad.isfinite().all())


def test_probabilities_of_tokens_and_of_chunks():
    logits, ids = numbers(2, 4, 6), torch.tensor([[1, 5, 0, 2], [3, 3, 4, 0]])
    found = token_log_probabilities(logits, ids)
    scores = logits.double().numpy()
    expected = np.zeros((2, 4))
    for row in range(2):
        for place in range(1, 4):
            e = np.exp(scores[row, place - 1])
            expected[row, place] = np.log(e[ids[row, place]] / e.sum())
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
    # Boundaries at places 0, 2 and 3 of the first window and 0, 1 of the second.
    ends, chosen = torch.tensor([0, 2, 3, 4, 5]), torch.tensor([False, True, True, False, True])
    chunks = chunk_log_probabilities(found, ends, chosen)
    wanted = [expected[0, 1] + expected[0, 2], expected[0, 3], expected[1, 1]]
    np.testing.assert_allclose(chunks.numpy(), wanted, rtol=1e-5)
