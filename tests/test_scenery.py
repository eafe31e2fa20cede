"""The measurement of scenery finds places, and runs on the shipped world."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from longlive_env.engine.world import World
from longlive_env.tiny.scene import Take, is_held_out, sample_scene
from longlive_env.training.latents import encode_blocks

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def scenery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scenery", ROOT / "benchmarks" / "scenery.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_rendered_block_is_where_it_was_rendered(scenery: ModuleType) -> None:
    codec = World.load("tiny").codec
    segments = ((0, sample_scene(np.random.default_rng(3))),)
    for block, place in ((0, 2), (3, 17)):
        latents = encode_blocks(Take(segments, scenery.PLACES[place]), block, 1, codec)[0]
        takes = [Take(segments, one) for one in scenery.PLACES]
        found, distance = scenery.locate(latents, takes, block, codec)
        assert found == place and distance < 1e-6


def test_takes_are_held_out_and_change_their_setting(scenery: ModuleType) -> None:
    pairs = scenery.pairs(20)
    assert all(before.setting != after.setting for before, after in pairs)
    assert all(is_held_out(scene) for pair in pairs for scene in pair)


def test_scenery_is_measured(scenery: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenery, "BLOCKS", 3)
    monkeypatch.setattr(scenery, "TURN", 2)
    monkeypatch.setattr(sys, "argv", ["scenery.py", "--takes", "2", "--out", str(tmp_path / "report.json")])
    scenery.main()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["takes"] == 2 and report["machine"]
    assert all(0 < report["distance"][key] < 0.5 for key in ("first block", "blocks after it"))
