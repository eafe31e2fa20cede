"""Noise that tells where a camera begins: all places are alike, and the code is that of the columns seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from longlive_env.engine.config import WorldConfig
from longlive_env.engine.noise import WorldNoise
from longlive_env.engine.viewpoint import SHARE, viewpoints, with_viewpoints
from longlive_env.engine.world import World

COUNT, STEP = 5, 8
SHAPE = (3, 16, 4, 10)


def noise(worlds: int) -> torch.Tensor:
    return WorldNoise(range(worlds)).block(SHAPE, 1)[0]


def code_in(told: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
    """What was added to noise, of variance 1 over all columns."""
    return (told - (1 - SHARE) ** 0.5 * plain) / SHARE**0.5


def test_every_place_is_equally_likely() -> None:
    places = viewpoints(noise(4000), COUNT)
    assert torch.bincount(places[:40], minlength=COUNT).max() < 16  # neighbouring seeds begin alike
    found = torch.bincount(places, minlength=COUNT)
    assert found.shape == (COUNT,)
    assert found.min() > 670 and found.max() < 930  # 800 expected; 5 standard deviations are 126


def test_the_ends_of_the_distribution_are_places_too() -> None:
    ends = torch.zeros(3, *SHAPE)
    ends[0], ends[2] = -30.0, 30.0
    assert viewpoints(ends, COUNT).tolist() == [0, 2, 4]


def test_the_code_is_that_of_the_columns_in_the_window() -> None:
    plain = noise(60)
    code, places = code_in(with_viewpoints(plain, COUNT, STEP), plain), viewpoints(plain, COUNT).tolist()
    assert torch.allclose(code, code[:, :1, :, :1].expand_as(code), atol=1e-5)  # of columns alone
    columns: dict[int, torch.Tensor] = {}
    for place, one in zip(places, code[:, 0, :, 0], strict=True):
        for at, vector in enumerate(one.unbind(dim=1)):
            seen = (place * STEP + at) % (COUNT * STEP)
            torch.testing.assert_close(vector, columns.setdefault(seen, vector), rtol=0, atol=1e-5)
    assert sorted(columns) == list(range(COUNT * STEP))
    table = torch.stack([columns[seen] for seen in sorted(columns)])
    torch.testing.assert_close(table.mean(dim=0), torch.zeros(SHAPE[1]), rtol=0, atol=1e-5)
    torch.testing.assert_close(table.square().mean(dim=0), torch.ones(SHAPE[1]), rtol=0, atol=1e-5)
    likeness = table @ table.roll(STEP, dims=0).T / SHAPE[1]
    assert likeness.diagonal().abs().max() < 0.3  # places are told apart


def test_the_noise_stays_as_strong() -> None:
    told = with_viewpoints(noise(400), COUNT, STEP)
    assert told.dtype == torch.float32
    assert told.mean().item() == pytest.approx(0, abs=0.02)
    assert told.std().item() == pytest.approx(1, abs=0.02)


def test_defaults_of_pytorch_change_nothing() -> None:
    plain = noise(3)
    told = with_viewpoints(plain, COUNT, STEP)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            assert torch.equal(with_viewpoints(plain, COUNT, STEP), told)
    finally:
        torch.set_default_dtype(before)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """Noise as denoising uses it, block after block: the start, and what is added between two steps."""
    noise = list[torch.Tensor]()
    monkeypatch.setattr(
        "longlive_env.engine.sampler.denoise",
        lambda _, start, sigmas, cross, memory, fresh, steps: noise.extend((start, fresh())) or start,
    )
    return noise


def draws(config: WorldConfig, seeds: list[int], blocks: int) -> list[torch.Tensor]:
    """All noise of as many blocks, as `seen` has it, none of which tells."""
    noise = WorldNoise(seeds)
    return [draw for _ in range(blocks) for draw in noise.block(config.block_shape, 2)]


def telling(world: World, viewpoints: tuple[int, ...] = (COUNT, STEP)) -> World:
    return world.replaced(config=replace(world.config, viewpoints=viewpoints))


def same(found: list[torch.Tensor], expected: list[torch.Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_only_the_start_of_a_first_block_tells(small_world: World, seen: list[torch.Tensor]) -> None:
    plain = draws(small_world.config, [7, 8], blocks=2)
    told = with_viewpoints(plain[0], COUNT, STEP)
    for told_of, expected in (((), plain), ((COUNT, STEP), [told, *plain[1:]])):
        seen.clear()
        rollout = telling(small_world, told_of).start(["a prompt", "another"], seed=[7, 8])
        for _ in range(2):
            rollout.step_latents()
        assert same(seen, expected)
    assert not same(seen, plain)


def test_a_world_that_has_forgotten_its_frames_is_told_again(
    small_world: World, seen: list[torch.Tensor]
) -> None:
    """And a world beside it is not."""
    rollout = telling(small_world).start(["a prompt"] * 2, seed=[7, 8])
    plain = draws(small_world.config, [7, 8], blocks=3)
    for block in range(3):
        if block == 1:
            rollout.switch_prompt("another", "clear", [1])
        rollout.step_latents()
    told = [with_viewpoints(plain[at], COUNT, STEP) for at in (0, 2)]
    assert same(seen, [told[0], plain[1], torch.stack((plain[2][0], told[1][1])), *plain[3:]])


def test_a_world_that_starts_anew_in_a_batch_is_told(small_world: World) -> None:
    world = telling(small_world)
    alone = world.start("a prompt", seed=3)
    expected = [alone.step_latents() for _ in range(2)]
    rollout = world.start(["a prompt", "another"], seed=[5, 6])
    rollout.step_latents()
    rollout.reset_world(1, "a prompt", seed=3)
    for wanted in expected:
        torch.testing.assert_close(rollout.step_latents()[1:], wanted)


def test_a_world_that_continues_a_clip_is_not_told(small_world: World, seen: list[torch.Tensor]) -> None:
    config = small_world.config
    clip = torch.zeros(9, config.height, config.width, 3, dtype=torch.uint8)
    telling(small_world).start("a prompt", seed=7, frames=clip).step_latents()
    assert same(seen, draws(config, [7], blocks=1))
