"""Predicted peaks are those of the world that runs, and a plan's is published as it is."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from longlive_env import World
from longlive_env.bench import BenchConfig, open_world
from longlive_env.bench.memory import peak_memory_mb
from longlive_env.engine import footprint as module
from longlive_env.engine.text_encoding import TextEncoding

LARGE = 10**9  # bytes of a text encoder


@pytest.fixture
def large_encoder(small_world: World, monkeypatch: pytest.MonkeyPatch) -> module.Footprint:
    """What the small world takes, with a text encoder that is the largest of all, as the published one is."""
    parts = replace(module.footprint(small_world.config, torch.float32), text_encoder=LARGE)
    monkeypatch.setattr(module, "footprint", lambda *arguments: parts)
    return parts


def test_a_text_encoder_that_comes_and_goes_is_counted(
    small_world_folder: Path, large_encoder: module.Footprint
) -> None:
    world = World.load(small_world_folder, memory="auto")
    assert world.memory_plan is not None and world.text_encoder is not None
    encoder = world.text_encoder
    world.text_encoding = TextEncoding(lambda: encoder)  # not loaded
    kept = large_encoder.transformer + large_encoder.codec + large_encoder.state
    for placement, want in (("cpu", kept + large_encoder.workspace), ("freed", kept + LARGE)):
        world.memory_plan = replace(
            world.memory_plan,
            text_encoder=placement,  # type: ignore[arg-type]
            encoding_bytes=4 * LARGE,
        )
        found = peak_memory_mb(world, 1)
        assert found["predicted"] == pytest.approx(want / 1e6, abs=0.1)
        assert found["planned"] == 4 * LARGE / 1e6


def test_a_text_encoder_that_is_not_there_is_not_planned_for() -> None:
    world = open_world(BenchConfig("tiny", random_weights=True, memory="8"))
    plan = world.memory_plan
    assert plan is not None and plan.text_encoder == "resident" and not world.text_encoding.present
    encoder = module.footprint(world.config, torch.float32).text_encoder
    assert peak_memory_mb(world, 1)["planned"] == pytest.approx((plan.running_bytes - encoder) / 1e6, abs=0.1)
