"""cosine_sparsemax against the float64 definition, and the definition against the optimality conditions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from salt_ext import ops, reference

DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
# Half a unit in the last place of the largest weight, 1: the values' own rounding is all that may differ.
TOLERANCE = {torch.float32: 6e-8, torch.float64: 1e-14, torch.float16: 5e-4, torch.bfloat16: 4e-3}


def dense(csr: tuple[Tensor, Tensor, Tensor], columns: int) -> Tensor:
    crow, col, values = csr
    rows = torch.repeat_interleave(torch.arange(len(crow) - 1), crow.diff())
    out = torch.zeros(len(crow) - 1, columns, dtype=torch.float64)
    out[rows, col] = values.double()
    return out


def assert_canonical(csr: tuple[Tensor, Tensor, Tensor], columns: int) -> None:
    crow, col, values = csr
    assert crow[0] == 0
    assert crow[-1] == len(col) == len(values)
    for begin, end in zip(crow[:-1].tolist(), crow[1:].tolist(), strict=True):
        row = col[begin:end].tolist()
        assert row == sorted(set(row))
        assert all(0 <= c < columns for c in row)
    assert bool((values > 0).all())


def clustered(rows: int, depth: int, centres: int = 40) -> Tensor:
    """Vectors that have neighbours, as word vectors do; independent ones would all be equally far apart."""
    return torch.randn(centres, depth)[torch.randint(centres, (rows,))] + 1.3 * torch.randn(rows, depth)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("q", "k", "d"),
    # Around the block (192), tile (256) and depth (256) sizes of the kernels, and far from them.
    [
        (1, 1, 1),
        (3, 1, 5),
        (1, 300, 7),
        (192, 256, 256),
        (193, 257, 257),
        (191, 511, 100),
        (400, 1000, 300),
        (5, 40, 900),
    ],
)
def test_equals_the_definition(dtype: torch.dtype, q: int, k: int, d: int) -> None:
    both = clustered(q + k, d).to(dtype)
    queries, keys = both[:q], both[q:]
    found = ops.cosine_sparsemax(queries, keys)
    assert_canonical(found, k)
    assert found[2].dtype == dtype
    expected = dense(reference.cosine_sparsemax(queries.double(), keys.double()), k)
    assert (dense(found, k) - expected).abs().max() <= TOLERANCE[dtype]
    assert (dense(found, k).sum(1) - 1).abs().max() <= TOLERANCE[dtype] * 10


@pytest.mark.parametrize("temperature", [0.01, 0.1, 0.5, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_temperatures(dtype: torch.dtype, temperature: float) -> None:
    both = clustered(120 + 900, 64).to(dtype)
    queries, keys = both[:120], both[120:]
    found = ops.cosine_sparsemax(queries, keys, temperature=temperature)
    assert_canonical(found, 900)
    expected = dense(reference.cosine_sparsemax(queries, keys, temperature=temperature), 900)
    assert (dense(found, 900) - expected).abs().max() <= TOLERANCE[dtype] * max(1.0, 1 / temperature)


@pytest.mark.any_isa
def test_definition_solves_the_projection() -> None:
    """Sparsemax is the simplex point nearest to the scores: checked by optimality conditions, not by algorithm."""
    queries, keys = torch.randn(30, 16, dtype=torch.float64), torch.randn(70, 16, dtype=torch.float64)
    scores = torch.nn.functional.cosine_similarity(queries[:, None], keys[None], dim=-1) / 0.3
    p = dense(reference.cosine_sparsemax(queries, keys, temperature=0.3), 70)
    assert torch.allclose(p.sum(1), torch.ones(30, dtype=torch.float64))
    for row in range(30):
        kept = p[row] > 0
        gap = scores[row, kept] - p[row, kept]
        assert torch.allclose(gap, gap[0].expand_as(gap))  # one threshold for the whole support
        assert bool((scores[row, ~kept] <= gap[0] + 1e-12).all())  # nothing above it is left out


def test_all_equal_similarities_share_the_weight() -> None:
    queries = torch.randn(1, 20).expand(7, 20)
    keys = torch.randn(1, 20).expand(600, 20).contiguous()
    _crow, col, values = ops.cosine_sparsemax(queries, keys)
    assert len(col) == 7 * 600
    assert (values - 1 / 600).abs().max() < 1e-7
    assert len(set(values.tolist())) == 1


def test_duplicate_keys_get_equal_weights() -> None:
    keys = clustered(50, 12)
    keys = torch.cat([keys, keys])
    p = dense(ops.cosine_sparsemax(clustered(9, 12), keys, temperature=0.2), 100)
    assert torch.equal(p[:, :50], p[:, 50:])


def test_vanishing_temperature_keeps_only_the_nearest() -> None:
    both = clustered(100 + 500, 30)
    crow, col, values = ops.cosine_sparsemax(both[:100], both[100:], temperature=1e-12)
    assert crow.diff().tolist() == [1] * 100
    assert torch.equal(values, torch.ones(100))
    nearest = ops.cosine_topk(both[:100], both[100:], 1)[1][:, 0]
    assert torch.equal(col, nearest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_support_is_exact_whatever_the_dtype(dtype: torch.dtype) -> None:
    """float32 cosines alone put a key now and then on the wrong side of the threshold; the regression then jumps."""
    both = clustered(2000 + 1500, 100).to(dtype)
    queries, keys = both[:2000], both[2000:]
    crow, col, _ = ops.cosine_sparsemax(queries, keys)
    exact_crow, exact_col, exact = reference.cosine_sparsemax(queries.double(), keys.double())
    kept = exact > 1e-12  # less is float64's own rounding
    assert torch.equal(col, exact_col[kept])
    rows = torch.repeat_interleave(torch.arange(2000), exact_crow.diff())[kept]
    assert torch.equal(crow.diff(), torch.bincount(rows, minlength=2000))


@pytest.mark.parametrize("place", [255, 256, 700, 999])
def test_a_late_key_just_above_the_running_threshold_is_kept(place: int) -> None:
    """After the first tile the threshold is (0.9 + 0.8 - 1) / 2 = 0.35; a key at 0.3505 belongs to the support."""
    cosines = torch.full((1000,), -0.5, dtype=torch.float64)
    cosines[[3, 7]] = torch.tensor([0.9, 0.8], dtype=torch.float64)
    cosines[place] = 0.3505
    keys = torch.stack([cosines, (1 - cosines**2).sqrt()], dim=1).float()
    _crow, col, values = ops.cosine_sparsemax(torch.tensor([[1.0, 0.0]]), keys)
    tau = (0.9 + 0.8 + 0.3505 - 1) / 3
    assert col.tolist() == [3, 7, place]
    assert (values.double() - torch.tensor([0.9, 0.8, 0.3505]) + tau).abs().max() < 1e-6


def test_zero_rows() -> None:
    queries, keys = torch.randn(5, 8), torch.randn(6, 8)
    queries[2] = 0
    keys[[0, 4]] = 0
    csr = ops.cosine_sparsemax(queries, keys, temperature=10.0)
    assert csr[0].diff()[2] == 0
    p = dense(csr, 6)
    assert bool((p[:, [0, 4]] == 0).all())
    assert bool((p[[0, 1, 3, 4]][:, [1, 2, 3, 5]] > 0).all())  # so warm that every other key is chosen
    nothing = ops.cosine_sparsemax(queries, torch.zeros(6, 8))
    assert nothing[0].tolist() == [0] * 6


@pytest.mark.parametrize(("q", "k", "d"), [(0, 5, 4), (5, 0, 4), (0, 0, 4), (3, 4, 0)])
def test_empty_inputs(q: int, k: int, d: int) -> None:
    crow, col, values = ops.cosine_sparsemax(torch.zeros(q, d), torch.zeros(k, d))
    assert crow.tolist() == [0] * (q + 1)
    assert len(col) == len(values) == 0


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-20, 1e18, 1e30])
def test_huge_and_tiny_vectors_keep_their_direction(scale: float) -> None:
    """Squares of these overflow or vanish in float32 (and the smallest are subnormal)."""
    both = clustered(20 + 200, 16) / 8
    plain = dense(ops.cosine_sparsemax(both[:20], both[20:]), 200)
    scaled = (both.double() * scale).float()
    assert (dense(ops.cosine_sparsemax(scaled[:20], scaled[20:]), 200) - plain).abs().max() < 1e-5


def test_subnormal_vectors_keep_their_direction() -> None:
    """Their inverse norm lies beyond float32."""
    both = torch.randint(-9, 10, (20 + 200, 16)).float()
    plain = dense(ops.cosine_sparsemax(both[:20], both[20:]), 200)
    tiny = both * 2.0**-149
    assert (dense(ops.cosine_sparsemax(tiny[:20], tiny[20:]), 200) - plain).abs().max() < 1e-6


def test_strided_and_misaligned_inputs_give_the_same_bits() -> None:
    both = clustered(50 + 300, 33)
    queries, keys = both[:50].clone(), both[50:].clone()
    expected = ops.cosine_sparsemax(queries, keys)
    storage = torch.zeros(300 * 34 + 1)
    misaligned = storage[1:].view(300, 34)[:, :33]  # starts 4 bytes off, rows 34 apart
    misaligned.copy_(keys)
    transposed = queries.T.contiguous().T  # elements of a row are not adjacent
    every_second = torch.zeros(100, 33)[::2]
    every_second.copy_(queries)
    for q, k in [(queries, misaligned), (transposed, keys), (every_second, misaligned)]:
        for a, b in zip(ops.cosine_sparsemax(q, k), expected, strict=True):
            assert torch.equal(a, b)


def test_a_row_does_not_depend_on_its_neighbours_or_the_threads() -> None:
    both = clustered(500 + 700, 40)
    queries, keys = both[:500], both[500:]
    torch.set_num_threads(1)
    one = ops.cosine_sparsemax(queries, keys)
    torch.set_num_threads(2)
    for a, b in zip(ops.cosine_sparsemax(queries, keys), one, strict=True):
        assert torch.equal(a, b)
    _crow, col, values = ops.cosine_sparsemax(queries[321:322], keys)
    begin, end = one[0][321:323].tolist()
    assert torch.equal(col, one[1][begin:end])
    assert torch.equal(values, one[2][begin:end])


def test_weights_that_round_to_zero_in_half_precision_are_left_out() -> None:
    csr = ops.cosine_sparsemax(*[clustered(600, 24).half()[i : i + 300] for i in (0, 300)])
    assert bool((csr[2] > 0).all())
    assert_canonical(csr, 300)
