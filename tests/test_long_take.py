"""Long takes, on worlds that are rendered, and on the shipped one where its codec matters."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rendered_world import RenderedRollout, RenderedWorld, said

from longlive_env.cli import eval as cli_eval
from longlive_env.cli.eval import long_table
from longlive_env.engine.world import World
from longlive_env.errors import ConfigError
from longlive_env.evaluate import EvalConfig, trials
from longlive_env.long_take import (
    STRIDE,
    LongTake,
    Picture,
    TakeRow,
    _drifts,
    _glimpses,
    _windows,
    further_drift,
    long_take,
)
from longlive_env.tiny.scene import ATTRIBUTES

CONFIG = EvalConfig(rollouts=5, blocks=8, batch=3)


class LatentRollout(RenderedRollout):
    """Its latents are its frames."""

    def step_latents(self) -> torch.Tensor:
        return self.step()

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents


class FadingRollout(LatentRollout):
    def step(self) -> torch.Tensor:
        frames = super().step()
        return (frames.float() * max(0.0, 1 - self.block / 40)).to(torch.uint8)


class LongWorld(RenderedWorld):
    """A rendered world that can fade to black."""

    config = SimpleNamespace(block_seconds=0.75, height=96)
    codec = SimpleNamespace(memory_frames=None)

    def __init__(self, fading: bool = False) -> None:
        super().__init__(said(trials(CONFIG)))
        self.fading = fading

    def start(self, prompts: list[str], seed: list[int]) -> LatentRollout:
        return (FadingRollout if self.fading else LatentRollout)(self, prompts)


def measure(world: LongWorld, rollouts: int, seen: list[int] | None = None) -> LongTake:
    def on_block(block: int, frames: torch.Tensor) -> None:
        if seen is not None:
            seen.append(block)

    return long_take(world, 21.0, rollouts=rollouts, batch=rollouts // 2, on_block=on_block)


def test_flicker_is_told_from_motion() -> None:
    rendered = np.zeros((4, 2, 4))
    rendered[:, :, -1] = np.array([0.001, 0.001, 0.02, 0.04])[:, None]
    pictures = rendered.copy()
    pictures[2:] *= 0.5  # half of the motion is lost
    pictures[:, :, -1] += 0.004
    take = LongTake(240.0, np.ones((4, 2, 5)), pictures, rendered)
    assert take.flicker is not None and take.motion_beyond_flicker is not None
    assert take.flicker.value == pytest.approx(0.004)
    assert take.motion_beyond_flicker.value == pytest.approx(0.5) and take.motion_ratio.value > 0.7
    moving = LongTake(240.0, np.ones((4, 2, 5)), pictures, rendered + 0.01)
    assert moving.flicker is moving.motion_beyond_flicker is None


def test_drifts_of_two_ways_are_compared_on_one_scale() -> None:
    pictures = np.ones((6, 2, 4))
    pictures[4:] = 5.0  # the second way has not been seen in these takes
    pictures[:, 1] *= 1.1
    first = LongTake(240.0, np.ones((6, 2, 5)), pictures, np.ones((6, 2, 4)))
    second = LongTake(240.0, np.ones((4, 2, 5)), 2 * pictures[:4], np.ones((4, 2, 4)))
    assert further_drift(first, first).value == pytest.approx(0.0)
    assert further_drift(first, second).value == pytest.approx(0.1)  # 0.2 of what the first way looks like


def test_a_steady_world_does_not_drift() -> None:
    seen: list[int] = []
    result = measure(LongWorld(), 2, seen)
    assert all(result.share(name, window).share > 0.9 for name in ATTRIBUTES for window in (0, -1))
    assert max(abs(result.fall(name).value) for name in ATTRIBUTES) < 5
    assert result.drift.value == pytest.approx(result.rendered_drift.value, abs=0.1)  # scenery that moves by
    assert result.motion_ratio.value == pytest.approx(1, abs=0.3)
    assert result.middles_s == [5.0, 16.0]
    assert seen == 2 * [*range(13), *range(15, 28)]  # in two batches
    text = long_table(result)
    assert "gradient" in text and "MISSED" not in text
    assert result.to_json()["rollouts"] == 2


def test_a_fading_world_drifts() -> None:
    result = measure(LongWorld(fading=True), 4)  # the fewest that have an interval
    assert result.drift.value > 0.3
    assert result.change("contrast").value < -0.3
    low, high = result.change("contrast").interval or (0, 0)
    assert low < result.change("contrast").value < high < 0
    assert "MISSED" in long_table(result)


def test_windows_cover_both_ends_and_do_not_overlap() -> None:
    windows = _windows(320, 13)
    assert len(windows) == 24
    assert windows[0] == range(13) and windows[-1] == range(307, 320)
    assert all(one.stop <= next_one.start for one, next_one in itertools.pairwise(windows))
    assert {one.step for one in windows[1:-1]} == {STRIDE} and windows[0].step == windows[-1].step == 1
    assert len(_windows(27, 13)) == 2


def test_blocks_between_need_no_decoding(small_world: World) -> None:
    looked = {0, 1, 4, 6}
    whole, parts = (small_world.start(["a red robot walks left", "a cat jumps"]) for _ in range(2))
    full = [whole.step() for _ in range(7)]
    for block, frames in _glimpses(parts, 7, looked):
        assert torch.equal(frames, full[block])
        looked.remove(block)
    assert not looked


def test_drift_is_of_each_rollout() -> None:
    """Two rollouts that drift in opposite directions have drifted, though their mean has not."""

    def row(start: float, end: float) -> TakeRow:
        looks = [[value, 0.2, 0.1, 0.05] for value in (start, start, end)]
        return TakeRow(shown=[[1.0] * 5] * 3, pictures=looks, rendered=[looks[0], looks[0]])

    take = LongTake.of([row(0.5, 0.4), row(0.5, 0.6), row(0.5, 0.5), row(0.5, 0.5)], 30.0)
    assert _drifts(take.pictures) == pytest.approx(np.array([0.2, 0.2, 0, 0]))
    assert take.drift.value == pytest.approx(0.1)
    assert take.change("saturation").value == pytest.approx(0)
    assert take.rendered_drift.value == 0


def test_statistics_of_a_picture() -> None:
    frames = torch.zeros(1, 3, 4, 4, 3, dtype=torch.uint8)
    frames[..., 2:, 0] = 255  # the right half is red
    picture = Picture.of(frames)
    assert picture.saturation == pytest.approx(0.5)
    assert picture.motion == 0
    assert picture.gradient == pytest.approx((1 / 3) / 3 / 2)
    frames[:, 1] = 0
    assert Picture.of(frames).motion == pytest.approx(0.5 / 3)


@pytest.mark.parametrize("seconds", [15.0, float("inf"), float("nan")])
def test_takes_without_two_ends_to_compare(seconds: float) -> None:
    with pytest.raises(ConfigError, match="at least 20, and a finite number"):
        long_take(LongWorld(), seconds)
    for options in ([], ["--ablation"]):  # before a world is even loaded
        with pytest.raises(ConfigError, match="at least 20"):
            cli_eval.main(["--world", "no such world", "--long", f"{seconds}", *options])


def test_the_report_is_kept_when_long_takes_are_interrupted(
    tmp_path: Path, small_world_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_eval, "_long_take", interrupted)
    few = ["--rollouts", "1", "--blocks", "6", "--rendered", "1", "--out", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        cli_eval.main(["--world", str(small_world_folder), *few, "--long", "20"])
    assert (tmp_path / "report.json").exists()
