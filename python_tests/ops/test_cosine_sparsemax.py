"""cosine_sparsemax against the float64 definition, and the definition against the optimality conditions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from salt_ext import ops
from salt_ext.ops import reference

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
    scores = torch.nn.functional.normalize(queries) @ torch.nn.functional.normalize(keys).T / 0.3
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


def at_cosines(cosines: Tensor) -> Tensor:
    """Keys in the plane that have these cosines with (1, 0)."""
    return torch.stack([cosines, (1 - cosines**2).clamp_min(0).sqrt()], dim=1)


def assert_equals_the_reference(queries: Tensor, keys: Tensor, temperature: float = 1.0) -> None:
    found = ops.cosine_sparsemax(queries, keys, temperature=temperature)
    assert_canonical(found, len(keys))
    expected = reference.cosine_sparsemax(queries, keys, temperature=temperature)
    near = expected[2].double().clamp_min(1e-12)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert ((found[2].double() - near) / near).abs().max() < 1e-5


@pytest.mark.any_isa
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_keys_that_low_precision_cannot_tell_apart_fall_on_the_right_side(dtype: torch.dtype) -> None:
    """Keys five times closer to each other and to the threshold than float16 resolves; in two tiles."""
    for centre in torch.linspace(0.3506, 0.3516, 8, dtype=torch.float64):
        cosines = -torch.rand(4603, dtype=torch.float64)
        near = torch.randperm(4500)[:40]
        cosines[near] = centre + torch.linspace(-1e-3, 1e-3, 40, dtype=torch.float64)
        cosines[[4501, 4602]] = torch.tensor([0.9, 0.8], dtype=torch.float64)
        query = torch.tensor([[1.0, 0.0]], dtype=dtype)
        keys = at_cosines(cosines).to(dtype)
        assert_equals_the_reference(query, keys)
        chosen = ops.cosine_sparsemax(query, keys)[1]
        assert 2 < len(chosen) < 42  # the threshold does lie among them


@pytest.mark.any_isa
@pytest.mark.parametrize("falling", [False, True])
def test_scores_that_rise_or_fall_from_key_to_key(falling: bool) -> None:
    cosines = torch.linspace(-0.9, 0.9, 4500, dtype=torch.float64)
    keys = at_cosines(cosines.flip(0) if falling else cosines)
    assert_equals_the_reference(torch.tensor([[1.0, 0.0]], dtype=torch.float64), keys)


@pytest.mark.any_isa
@pytest.mark.parametrize("temperature", [1e-6, 1.0, 1e6])
def test_supports_of_more_keys_than_a_query_keeps_survivors(temperature: float) -> None:
    """1,400 copies of one key are chosen by the queries near them; other queries choose as ever."""
    keys = torch.cat([torch.randn(300, 6), torch.randn(1, 6).expand(1400, 6), torch.randn(13, 6)]).double()
    keys[[5, 1710]] = 0  # never chosen, although their cosine lies above a threshold below 0
    queries = torch.randn(7, 6).double()
    queries[[1, 4]] = keys[1000]
    queries[2] = -keys[1000]
    queries[3] = 0
    assert_equals_the_reference(queries, keys, temperature)
    sizes = ops.cosine_sparsemax(queries, keys, temperature=temperature)[0].diff()
    assert sizes[1] >= 1400
    assert sizes[3] == 0
    assert bool((sizes[[0, 5]] == 1711).all()) if temperature == 1e6 else sizes[2] < 300
    # So cold that weights vanish beside the scores: the highest share.
    frozen = ops.cosine_sparsemax(queries, keys, temperature=1e-300)
    assert frozen[0].diff().tolist() == [1, 1400, 1, 0, 1400, 1, 1]
    assert bool(((frozen[2] - 1 / 1400).abs() < 1e-12).sum() == 2800)


@pytest.mark.any_isa
def test_more_queries_and_keys_than_a_block_and_a_tile() -> None:
    queries = torch.randn(4100, 3)
    keys = torch.randn(5, 3)
    crow, col, values = ops.cosine_sparsemax(queries, keys)
    for begin, end in [(0, 2), (4094, 4100)]:
        part = ops.cosine_sparsemax(queries[begin:end], keys)
        entries = slice(int(crow[begin]), int(crow[end]))
        assert torch.equal(crow[begin : end + 1] - crow[begin], part[0])
        assert torch.equal(col[entries], part[1])
        assert torch.equal(values[entries], part[2])
    assert_equals_the_reference(queries[:3], torch.randn(8201, 3)[1:])


@pytest.mark.any_isa
@pytest.mark.parametrize("offset", [0, 1, 3])
def test_misaligned_rows_of_every_width(offset: int) -> None:
    for depth in (1, 7, 8, 9, 31):
        storage = torch.randn(40 * 35 + offset)
        keys = storage[offset:].view(40, 35)[:, :depth]
        assert_equals_the_reference(keys[:3], keys[2:])
