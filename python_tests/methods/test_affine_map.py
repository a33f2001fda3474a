"""How the global map is solved: by Cholesky where a ridge makes that safe, by eigenvectors where it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from salt_ext.methods.core import affine_map

# One anchor is its own mean: with an intercept nothing is left for a ridge to be relative to.
FITS = [(shape, intercept) for shape in [(400, 30), (30, 400), (60, 60)] for intercept in (False, True)]
FITS.append(((1, 5), False))


def refuse(name):
    def refused(*arguments, **options):
        raise AssertionError(f"{name} was called")

    return refused


@pytest.mark.parametrize("ridge", [1e-5, 0.1, 1.0, 30.0])
@pytest.mark.parametrize(("shape", "intercept"), FITS)
def test_a_ridge_needs_no_eigenvectors(shape, ridge, intercept, monkeypatch):
    """The ridge as rows below the anchors', solved by NumPy's least squares: no Gram matrix on that side."""
    monkeypatch.setattr(torch.linalg, "eigh", refuse("eigh"))
    generator = np.random.default_rng(3)
    a = generator.normal(1, 1, shape) * np.logspace(0, -2, shape[1])
    b, queries = generator.normal(3, 1, (shape[0], 7)), generator.normal(size=(4, shape[1]))
    fitted = affine_map.fit(torch.from_numpy(a), ridge=ridge, intercept=intercept)
    a0, b0 = (a.mean(0), b.mean(0)) if intercept else (0 * a[0], 0 * b[0])
    damping = np.sqrt(ridge * ((a - a0) ** 2).sum() / shape[1]) * np.eye(shape[1])
    solution = np.linalg.lstsq(np.vstack([a - a0, damping]), np.vstack([b - b0, np.zeros((shape[1], 7))]))[0]
    expected = (queries - a0) @ solution + b0
    made = fitted.domain(torch.from_numpy(queries)) @ (fitted.right @ torch.from_numpy(b))
    condition = shape[1] / ridge  # of the damped Gram matrix, at most
    assert np.abs(made.numpy() - expected).max() <= 1e-14 * max(100, condition) * np.abs(expected).max()


@pytest.mark.parametrize("ridge", [0.0, 1e-300, 1e-14])
@pytest.mark.parametrize("shape", [(50, 12), (12, 50)])
def test_a_ridge_that_rounding_hides_is_left_to_eigenvectors(shape, ridge, monkeypatch):
    """Dependent rows: the least-squares map of minimum norm, which Cholesky cannot give."""
    monkeypatch.setattr(torch.linalg, "cholesky_ex", refuse("cholesky_ex"))
    generator = np.random.default_rng(4)
    a = generator.normal(size=(shape[0], 5)) @ generator.normal(size=(5, shape[1]))
    b, queries = generator.normal(size=(shape[0], 3)), generator.normal(size=(4, shape[1]))
    fitted = affine_map.fit(torch.from_numpy(a), ridge=ridge, intercept=False)
    made = fitted.domain(torch.from_numpy(queries)) @ (fitted.right @ torch.from_numpy(b))
    assert made.numpy() == pytest.approx(queries @ np.linalg.pinv(a, rcond=1e-9) @ b, abs=1e-9)


@pytest.mark.parametrize("shape", [(9, 3), (3, 9)])
def test_anchors_that_are_all_alike_are_left_to_eigenvectors(shape):
    """Nothing is left after the mean is taken off, whatever the ridge: the mean row for every token."""
    rows, b = torch.full(shape, 2.0), torch.randn(shape[0], 4, dtype=torch.float64)
    fitted = affine_map.fit(rows, ridge=1.0)
    made = fitted.domain(torch.randn(2, shape[1])) @ (fitted.right @ b)
    assert torch.allclose(made, b.mean(dim=0).expand(2, 4))


def test_the_anchors_rows_are_left_as_they_were():
    rows = torch.randn(20, 4, dtype=torch.float64)
    before = rows.clone()
    affine_map.fit(rows, ridge=1.0)
    assert torch.equal(rows, before)


def test_a_rounded_map_is_what_a_plan_keeps():
    fitted = affine_map.fit(torch.randn(20, 4), ridge=1.0)
    rounded = fitted.rounded()
    assert rounded.right.dtype == torch.float32
    assert torch.equal(rounded.right, fitted.right.float())
    assert torch.equal(rounded.centre, fitted.centre)
