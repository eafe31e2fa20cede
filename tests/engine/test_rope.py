import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from longlive_env.engine.rope import THETA, Rope, _turn_complex, _turn_real, axis_pairs, rotate

GRID = (2, 3)


@given(st.integers(1, 100).map(lambda half: 2 * half))
def test_axes_share_all_pairs_of_a_head(head_dim: int) -> None:
    time, height, width = axis_pairs(head_dim)
    assert time + height + width == head_dim // 2
    assert height == width <= time


def test_published_head_splits_22_21_21() -> None:
    assert axis_pairs(128) == (22, 21, 21)


def test_agrees_with_complex128_written_out() -> None:
    x = torch.randn(1, 2 * 6, 2, 32)
    pairs = torch.view_as_complex(x.double().reshape(1, 12, 2, 16, 2))
    want = torch.empty_like(pairs)
    for token in range(12):
        frame, row, column = (5, 9999)[token // 6], token % 6 // 3, token % 3
        position = [frame] * 6 + [row] * 5 + [column] * 5
        number = [*range(6), *range(5), *range(5)]
        count = [6] * 6 + [5] * 10
        angle = [p * THETA ** (-n / c) for p, n, c in zip(position, number, count, strict=True)]
        want[:, token] = pairs[:, token] * torch.exp(1j * torch.tensor(angle, dtype=torch.float64))
    got = rotate(x, Rope(32, GRID).frames([[5, 9999]]))
    torch.testing.assert_close(got, torch.view_as_real(want).flatten(-2).float(), rtol=1e-6, atol=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 10**6))
def test_scores_depend_on_the_distance_in_time_alone(a: int, b: int, shift: int) -> None:
    rope = Rope(24, GRID)
    q, k = torch.randn(2, 1, 6, 2, 24)
    score = [
        torch.einsum("bshd,bshd->bsh", rotate(q, rope.frames([[a + s]])), rotate(k, rope.frames([[b + s]])))
        for s in (0, shift)
    ]
    torch.testing.assert_close(score[0], score[1], rtol=0, atol=2e-5)


def test_each_world_has_positions_of_its_own() -> None:
    rope, x = Rope(24, GRID), torch.randn(2, 12, 2, 24)
    both = rotate(x, rope.frames([[0, 1], [7, 8]]))
    torch.testing.assert_close(both[1:], rotate(x[1:], rope.frames([[7, 8]])), rtol=0, atol=0)
    assert not torch.allclose(both[1], rotate(x, rope.frames([[0, 1]]))[1])


def test_real_and_complex_arithmetic_agree() -> None:
    rotation = Rope(24, GRID).frames([[3, 4]])
    pairs = torch.randn(2, 12, 2, 12, 2)
    torch.testing.assert_close(
        _turn_real(pairs, rotation), _turn_complex(pairs, rotation), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_keeps_type_and_length(dtype: torch.dtype) -> None:
    x = torch.randn(1, 6, 2, 24, dtype=dtype)
    turned = rotate(x, Rope(24, GRID).frames([[11]]))
    assert turned.dtype == dtype
    torch.testing.assert_close(turned.float().norm(dim=-1), x.float().norm(dim=-1), rtol=1e-2, atol=1e-2)
