"""The measurement of scenery finds places, and runs on the shipped world."""

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scripts import benchmark
from torch import Tensor

from longlive_env.engine.codec import Codec
from longlive_env.engine.world import World
from longlive_env.tiny.render import render_take
from longlive_env.tiny.scene import CAMERA_STEP, Scene, Take, block_start, is_held_out, sample_scene
from longlive_env.training.latents import encode_blocks, encode_each


@pytest.fixture(scope="module")
def scenery() -> ModuleType:
    return benchmark("scenery")


def test_a_rendered_block_is_where_it_was_rendered(scenery: ModuleType) -> None:
    codec = scenery.light(World.load("tiny").codec)
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


class Rendered:
    """Walks as the renderer draws them, the second of which stalls at its third block."""

    def __init__(self, scenes: list[Scene], codec: Codec) -> None:
        self.scenes, self.codec, self.block = scenes, codec, 0
        self.cameras = [32.0, 64.0]

    def start(self, prompts: list[str], seeds: list[int]) -> "Rendered":
        return self

    def step_latents(self) -> Tensor:
        if self.block == 2:
            self.cameras[1] += -CAMERA_STEP if self.scenes[1].action == "right" else CAMERA_STEP
        takes = [Take(((0, scene),), camera) for scene, camera in zip(self.scenes, self.cameras, strict=True)]
        self.block += 1
        return encode_each(takes, self.block - 1, self.codec)


def test_a_walk_that_stalls_is_seen(scenery: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenery, "WALK", 4)
    monkeypatch.setattr(scenery, "PLACES", scenery.PLACES[::2])  # those of the cameras are among them
    scenes, codec = scenery.walkers(2), scenery.light(World.load("tiny").codec)
    assert all(scenery.walks(scene) and is_held_out(scene) for scene in scenes)
    moves, distances = scenery.walk(Rendered(scenes, codec), scenes, 0)
    assert moves.tolist() == [[True] * 4, [True, True, False, True]]
    assert distances.max() < 1e-6


@pytest.mark.parametrize("scale", [1, 2])
def test_frames_are_compared_with_rendered_ones(scenery: ModuleType, scale: int) -> None:
    take = Take(((0, sample_scene(np.random.default_rng(3))),), 32.0)
    frames = render_take(take, block_start(2), 12, scale=scale)
    pixels = scenery.sizes(frames)
    assert [one.shape[-1] for one in pixels] == [160 * scale] + [160] * (scale > 1)
    error, strip, grain, shown, rendered = scenery.look(pixels[0], take, 2)
    assert error == strip == grain == 0 and shown == rendered > 0
    smeared = frames.float().unflatten(2, (-1, 4)).mean(3, keepdim=True).expand(-1, -1, -1, 4, -1)
    error, strip, _, shown, rendered = scenery.look(scenery.sizes(smeared.flatten(2, 3).byte())[0], take, 2)
    assert error > 1e-3 and strip > 1e-3 and shown < 0.9 * rendered
    aside = frames.clone()
    aside[:, :, : scenery.STRIP[0] * scale] = 0
    error, strip, *_ = scenery.look(scenery.sizes(aside)[0], take, 2)
    assert error > 0.01 and strip == 0
    noise = torch.randn(pixels[0].shape, generator=torch.Generator().manual_seed(0)) / 127.5
    assert scenery.look(pixels[0] + noise, take, 2)[2] == pytest.approx(2, rel=0.2)  # of two pixels


def test_scenery_is_measured(scenery: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenery, "BLOCKS", 3)
    monkeypatch.setattr(scenery, "TURN", 2)
    monkeypatch.setattr(scenery, "WALK", 3)
    monkeypatch.setattr(scenery, "STRETCH", 2)
    monkeypatch.setattr(scenery, "PLACES", scenery.PLACES[::4])  # each is rendered and encoded
    monkeypatch.setattr(sys, "argv", ["scenery.py", "--takes", "2", "--out", str(tmp_path / "report.json")])
    scenery.main()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["takes"] == 2 and report["machine"]
    assert report["long walks"]["blocks"] == ["1 to 2", "3 to 3"]
    assert all(0 < value < 0.5 for value in report["long walks"]["distance"])
    around = report["frames"]["PSNR around jumps and dances"]
    assert around is None or around > 15
    assert (report["frames"]["grain around jumps and dances"] is None) == (around is None)
    assert report["frames"]["PSNR"] > 20 and 0.3 < report["frames"]["sharpness"] < 1.2
    assert all(0 < report["distance"][key] < 0.5 for key in ("first block", "blocks after it"))
