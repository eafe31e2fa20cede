"""Noise: what is drawn ahead is what would have been drawn, whatever happens in between."""

from collections.abc import Callable

import pytest
import torch

from longlive_env.engine.noise import RecordedNoise, WorldNoise

SHAPE = (3, 4, 2, 3)
OTHERS = WorldNoise([8, 9])


def block(noise: WorldNoise, draws: int = 2) -> torch.Tensor:
    return noise.block(SHAPE, draws)


def test_a_world_draws_what_its_generator_draws() -> None:
    noise, generators = WorldNoise([5, 6]), [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    for draws in (2, 1, 4):
        found = block(noise, draws)
        for draw in found:
            for world, generator in zip(draw, generators, strict=True):
                assert torch.equal(world, torch.randn(SHAPE, generator=generator))


@pytest.mark.parametrize(
    "between",
    [
        lambda noise: None,
        lambda noise: noise.draw_ahead(SHAPE, 2),
        lambda noise: noise.states(),
        lambda noise: block(noise.select([1, 0, 1])),
        lambda noise: block(noise, 1),
        lambda noise: noise.block((1, *SHAPE[1:]), 2),
        lambda noise: noise.reseed(1, 7),
        lambda noise: noise.assign([1], OTHERS, [0]),
        lambda noise: OTHERS.select([0, 1]).assign([1], noise, [0]),
        lambda noise: noise.set_states(OTHERS.states()),
    ],
    ids=["nothing", "again", "states", "select", "fewer", "other", "reseed", "assign", "source", "set"],
)
def test_drawing_ahead_changes_nothing(between: Callable[[WorldNoise], object]) -> None:
    plain, ahead = WorldNoise([5, 6]), WorldNoise([5, 6])
    for _ in range(2):
        ahead.draw_ahead(SHAPE, 2)
        assert torch.equal(ahead.states(), plain.states())
        assert torch.equal(block(ahead.select([1])), block(plain.select([1])))
        for noise in (plain, ahead):
            between(noise)
        assert torch.equal(ahead.states(), plain.states())
        assert torch.equal(block(ahead), block(plain))


def test_noise_of_inference_mode_can_be_drawn_again_outside() -> None:
    noise = WorldNoise([5, 6])
    with torch.inference_mode():
        noise.draw_ahead(SHAPE, 2)
    noise.reseed(0, 7)
    assert torch.equal(block(noise), block(WorldNoise([7, 6])))


def test_what_is_drawn_ahead_is_not_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = WorldNoise([5, 6])
    noise.draw_ahead(SHAPE, 2)
    monkeypatch.setattr(WorldNoise, "_drawn", lambda *_: pytest.fail("drawn again"))
    noise.reseed(0, 7)  # the other world's part stays
    assert block(noise).shape == (2, 2, *SHAPE)


def test_a_recording_is_played_in_order() -> None:
    start, fresh = torch.randn(2, 6, *SHAPE[1:]), torch.randn(2, 2 * SHAPE[0], *SHAPE[1:])
    noise = RecordedNoise(start, fresh)
    for number in range(2):
        first, second = noise.block(SHAPE, 2)
        assert torch.equal(first, start[:, 3 * number : 3 * number + 3])
        assert torch.equal(second.flatten(0, 1), fresh[number])
