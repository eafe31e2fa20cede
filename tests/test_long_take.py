"""Long takes and ablations, on worlds that are rendered or of random weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_evaluate import RenderedRollout, RenderedWorld

from longlive_env.ablation import VARIANTS, Variant, ablation, spread_steps, switches
from longlive_env.cli import eval as cli_eval
from longlive_env.cli.eval import ablation_table, long_table
from longlive_env.engine.rollout import World
from longlive_env.errors import ConfigError
from longlive_env.evaluate import EvalConfig
from longlive_env.long_take import Picture, long_take
from longlive_env.tiny.probe import Probe

CONFIG = EvalConfig(rollouts=5, blocks=8, batch=3)


class FadingRollout(RenderedRollout):
    def step(self) -> torch.Tensor:
        frames = super().step()
        return (frames.float() * max(0.0, 1 - self.block / 40)).to(torch.uint8)


class LongWorld(RenderedWorld):
    """A rendered world that can fade to black."""

    config = SimpleNamespace(block_seconds=0.75)

    def __init__(self, fading: bool = False) -> None:
        super().__init__(CONFIG)
        self.fading = fading

    def start(self, prompts: list[str], seed: list[int]) -> RenderedRollout:
        return (FadingRollout if self.fading else RenderedRollout)(self, prompts)


def measure(world: LongWorld):
    return long_take(world, 24.0, rollouts=5, batch=3)


def test_a_steady_world_does_not_drift() -> None:
    result = measure(LongWorld())
    assert all(share.share > 0.9 for share in (*result.first.values(), *result.last.values()))
    assert max(abs(fall) for fall in result.fall.values()) < 5
    assert result.drift < 0.25  # the scenery that five subjects walk through is not the same everywhere
    assert result.motion_ratio == pytest.approx(1, abs=0.3)
    assert len(result.over_time) == 3
    assert "saturation" in long_table(result)
    assert result.to_json()["rollouts"] == 5


def test_a_fading_world_drifts() -> None:
    result = measure(LongWorld(fading=True))
    assert result.drift > 0.3
    assert result.end.contrast < result.start.contrast


def test_statistics_of_a_picture() -> None:
    frames = torch.zeros(1, 3, 4, 4, 3, dtype=torch.uint8)
    frames[..., 2:, 0] = 255  # the right half is red
    picture = Picture.of(frames)
    assert picture.saturation == pytest.approx(0.5)
    assert picture.motion == 0
    assert picture.sharpness == pytest.approx((1 / 3) / 3 / 2)
    frames[:, 1] = 0
    assert Picture.of(frames).motion == pytest.approx(0.5 / 3)


def test_takes_too_short_to_compare() -> None:
    with pytest.raises(ConfigError, match="at least 20"):
        long_take(LongWorld(), 15.0)
    seen: list[object] = []
    with pytest.raises(ConfigError, match="at least 20"):
        ablation(LongWorld(), CONFIG, seconds=15.0, on_variant=seen.append)
    with pytest.raises(ConfigError, match="at least 20"):  # before a world is even loaded
        cli_eval.main(["--world", "no such world", "--long", "15"])


def test_the_report_is_kept_when_long_takes_are_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_eval, "_long_take", interrupted)
    few = ["--rollouts", "1", "--blocks", "6", "--rendered", "1", "--out", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        cli_eval.main([*few, "--long", "20"])
    assert (tmp_path / "report.json").exists()


class SwitchingWorld(RenderedWorld):
    """Obeys, clings to the old prompt, or starts afresh, as the mode of recache says."""

    def start(self, prompts: list[str], seed: list[int]) -> RenderedRollout:
        class Switching(RenderedRollout):
            def switch_prompt(self, prompts: list[str], recache: str = "full") -> None:
                if recache != "none":
                    super().switch_prompt(prompts)

        return Switching(self, prompts)


def test_switches_tell_obedience_from_clinging() -> None:
    config, probe = EvalConfig(rollouts=10, blocks=8, batch=5), Probe.load()
    obedient = switches(SwitchingWorld(config), config, probe)
    clinging = switches(SwitchingWorld(config), config, probe, "none")
    assert obedient.obeyed.share > 0.9 > 0.3 > clinging.obeyed.share
    assert obedient.kept.share > 0.9 and clinging.kept.share > 0.9
    assert obedient.feature_jump > clinging.feature_jump


def test_steps_are_spread_as_published() -> None:
    assert spread_steps(4) == (1000, 750, 500, 250)
    assert spread_steps(1) == (1000,)


def test_variants_run_the_same_weights_another_way() -> None:
    world = World.load("tiny")
    chosen = [one for one in VARIANTS if one.name in ("sink 0", "full attention", "2 steps")]
    configs = {one.name: one.world(world, 60).config for one in chosen}
    assert configs["sink 0"].sink_frames == 0
    assert configs["full attention"].context_frames == 60
    assert configs["2 steps"].sampler.steps == (1000, 500)
    assert all(one.world(world, 60).transformer is world.transformer for one in chosen)


def test_an_ablation_reports_each_variant() -> None:
    config = EvalConfig(rollouts=1, blocks=6, batch=1)
    variants = (Variant("recache", "a"), Variant("1 step", "b", recache="clear", sink_frames=0, steps=1))
    seen = []
    results = ablation(World.load("tiny"), config, variants=variants, on_variant=seen.append)
    assert seen == results
    lines = ablation_table(results).splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["a: recache", "b: 1 step"]
    assert {"obeyed", "pixel_jump", "long"} <= results[0].to_json().keys()
