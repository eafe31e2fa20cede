"""Evaluation tells worlds that obey from worlds that do not; the worlds here are rendered."""

import dataclasses
from collections.abc import Sequence

import pytest
import torch

from longlive_env.errors import ConfigError
from longlive_env.evaluate import EvalConfig, Share, episodes, evaluate, whole_block
from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import BLOCK_FRAMES, Scene, Take, block_start, is_held_out

CONFIG = EvalConfig(rollouts=10, blocks=8, batch=4, rendered=10)


class RenderedWorld:
    """Renders the scenes that its prompts mean; a deaf one never hears of a switch."""

    device = torch.device("cpu")

    def __init__(self, config: EvalConfig, deaf: bool = False) -> None:
        self.meaning = {
            text: scene
            for one in episodes(config)
            for text, scene in zip(one.prompts, one.scenes, strict=True)
        }
        self.deaf = deaf

    def start(self, prompts: Sequence[str], seed: Sequence[int]) -> "RenderedRollout":
        assert len(set(seed)) == len(prompts)
        return RenderedRollout(self, prompts)


class RenderedRollout:
    def __init__(self, world: RenderedWorld, prompts: Sequence[str]) -> None:
        self.world, self.block = world, 0
        self.segments: list[list[tuple[int, Scene]]] = [[(0, world.meaning[prompt])] for prompt in prompts]

    def switch_prompt(self, prompts: Sequence[str]) -> None:
        for segments, prompt in zip(self.segments, prompts, strict=True):
            if not self.world.deaf:
                segments.append((block_start(self.block), self.world.meaning[prompt]))

    def step(self) -> torch.Tensor:
        start, end = block_start(self.block), block_start(self.block + 1)
        self.block += 1
        takes = [Take(tuple(segments), camera=0.0) for segments in self.segments]
        return torch.stack([render_take(take, start, end - start) for take in takes])


def shares(report) -> dict[tuple[str, str], float]:
    return {(one.group, one.name): one.value.share for one in report.measures}


def test_an_obedient_world_passes() -> None:
    seen = []
    report = evaluate(
        RenderedWorld(CONFIG), CONFIG, on_block=lambda batch, block, frames: seen.append((len(batch), block))
    )
    found = shares(report)
    assert found["switch", "changed"] >= 0.9 and found["switch", "unchanged"] >= 0.95
    assert min(value for (group, _), value in found.items() if group == "prompt") >= 0.9
    assert seen == [(size, block) for size in (4, 4, 2) for block in range(8)]
    assert len(report.by_block["subject"]) == 8 and len(report.after_switch) == 4


def test_a_deaf_world_fails() -> None:
    report = evaluate(RenderedWorld(CONFIG, deaf=True), CONFIG)
    found = shares(report)
    assert found["switch", "changed"] <= 0.1 and found["switch", "unchanged"] >= 0.95
    assert not report.passed
    failed = {(one.group, one.name) for one in report.measures if one.passed is False}
    assert ("switch", "changed") in failed and ("switch", "unchanged") not in failed


def test_episodes_are_held_out_and_change_one_attribute() -> None:
    planned = list(episodes(EvalConfig(rollouts=25)))
    for one in planned:
        assert all(is_held_out(scene) for scene in one.scenes)
        first, second = (dataclasses.asdict(scene) for scene in one.scenes)
        assert [name for name in first if first[name] != second[name]] == [one.changed]
    assert planned == list(episodes(EvalConfig(rollouts=25)))
    assert len({one.seed for one in planned}) == 25
    assert {one.changed for one in planned} == {"subject", "colour", "setting", "weather", "action"}


def test_wilson_intervals() -> None:
    assert Share(8, 10).interval == pytest.approx((0.4902, 0.9433), abs=1e-4)  # the textbook's figures
    assert Share(0, 10).interval[0] == 0.0 and Share(10, 10).interval[1] == pytest.approx(1.0)


def test_a_short_first_block_is_filled_up() -> None:
    frames = torch.arange(9, dtype=torch.uint8).reshape(1, 9, 1, 1, 1).expand(2, 9, 4, 4, 3)
    whole = whole_block(frames)
    assert whole.shape == (2, BLOCK_FRAMES, 4, 4, 3)
    assert whole[0, :, 0, 0, 0].tolist() == [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("values", [{"rollouts": 0}, {"batch": 0}, {"blocks": 5}])
def test_impossible_configs_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        EvalConfig(**values)
