"""RowAdam, against its formula in float64."""

from __future__ import annotations

import numpy as np
import torch

from salt_ext.distillation.optimizer import RowAdam


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_follows_its_formula():
    table = torch.nn.Parameter(numbers(5, 3))
    gradients = [numbers(5, 3, seed=seed) * torch.tensor([[1.0], [1e-3], [10.0], [0.0], [1.0]]) for seed in range(1, 7)]
    expected, mean, square = table.detach().double().numpy().copy(), np.zeros((5, 3)), np.zeros((5, 1))
    optimizer = RowAdam([{"params": [table], "lr": 0.1}])
    for step, gradient in enumerate(gradients, 1):
        table.grad = gradient.clone()
        optimizer.step()
        g = gradient.double().numpy()
        mean = 0.9 * mean + 0.1 * g
        square = 0.95 * square + 0.05 * (g**2).mean(axis=1, keepdims=True)
        v = square / (1 - 0.95**step)
        expected -= 0.1 * (mean / (1 - 0.9**step)) / np.sqrt(v + v.mean())
        np.testing.assert_allclose(table.detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_a_row_that_the_text_hardly_speaks_of_hardly_moves():
    """Adam would move both by as much."""
    table = torch.nn.Parameter(torch.zeros(2, 4))
    optimizer = RowAdam([{"params": [table], "lr": 1.0}])
    for _ in range(20):
        table.grad = torch.tensor([[1.0], [1e-4]]).expand(2, 4).clone()
        optimizer.step()
    assert table[0].abs().min() > 10
    assert table[1].abs().max() < 0.01


def test_a_table_without_a_gradient_stays():
    table = torch.nn.Parameter(torch.ones(2, 2))
    RowAdam([{"params": [table], "lr": 1.0}]).step()
    assert bool((table == 1).all())
    table.grad = torch.zeros(2, 2)
    RowAdam([{"params": [table], "lr": 1.0}]).step()
    assert bool((table == 1).all())
