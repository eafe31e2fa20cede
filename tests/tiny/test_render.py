"""The renderer: the same take gives the same pixels, however it is cut."""

import numpy as np
import torch

from longlive_env.tiny.render import FADE_FRAMES, contact_sheet, motion, render_scene, render_take
from longlive_env.tiny.scene import SETTINGS, Scene, Take, sample_take


def test_parts_equal_the_whole() -> None:
    take = sample_take(np.random.default_rng(3), 45, switches=1)
    whole = render_take(take, 0, 45)
    assert whole.shape == (45, 96, 160, 3)
    assert whole.dtype == torch.uint8
    assert torch.equal(torch.cat([render_take(take, 0, 20), render_take(take, 20, 25)]), whole)


def test_scenery_returns_after_a_full_turn() -> None:
    scene = Scene("cat", "red", "castle", "rain", "still")
    assert torch.equal(render_scene(scene, 12, camera=10.0), render_scene(scene, 12, camera=330.0))


def test_camera_follows_the_subject() -> None:
    for action, sign in (("left", -1), ("right", 1), ("still", 0)):
        camera = motion(Take(((0, Scene("cat", "red", "city", "clear", action)),), 0.0), 24).camera
        assert np.sign(camera[-1] - camera[0]) == sign


def test_a_change_fades_in() -> None:
    old, new = (Scene("cat", "red", "city", weather, "still") for weather in ("clear", "night"))
    frames = render_take(Take(((0, old), (9, new)), 0.0), 0, 33).float().mean(dim=(1, 2, 3))
    assert frames[8] > frames[9] > frames[9 + FADE_FRAMES // 2] > frames[9 + FADE_FRAMES]
    assert abs(frames[9 + FADE_FRAMES] - frames[32]) < 1


def test_a_segment_may_be_seen_from_elsewhere() -> None:
    """What fades stays where it was."""
    old, new = (Scene("cat", "red", setting, "clear", "still") for setting in ("city", "beach"))
    segments, end = ((0, old), (9, new)), 9 + FADE_FRAMES
    here, there = (render_take(Take(segments, camera), 0, 33) for camera in (16.0, 96.0))
    moved = render_take(Take(segments, 16.0, (0.0, 80.0)), 0, 33)
    assert torch.equal(moved[:9], here[:9]) and torch.equal(moved[end:], there[end:])
    jumps = [(frames[9].float() - here[8].float()).abs().mean() for frames in (moved, there)]
    assert jumps[0] < jumps[1]


def test_attributes_look_different() -> None:
    scenes = [Scene("cat", "red", setting, "clear", "still") for setting in SETTINGS]
    pictures = torch.stack([render_scene(scene, 1)[0].float() for scene in scenes]).flatten(1)
    distance = torch.cdist(pictures, pictures) / pictures.shape[1] ** 0.5
    assert distance[~torch.eye(len(scenes), dtype=torch.bool)].min() > 10


def test_larger_pictures_show_the_same() -> None:
    """A scene drawn at twice the size looks, averaged, as it does at its own, but for softened edges."""
    rng = np.random.default_rng(5)
    for _ in range(4):
        take = sample_take(rng, 24, switches=1)
        own, large = (render_take(take, 0, 24, scale=scale) for scale in (1, 2))
        assert large.shape == (24, 192, 320, 3)
        averaged = large.float().unflatten(1, (96, 2)).unflatten(3, (160, 2)).mean(dim=(2, 4))
        assert (averaged - own.float()).square().mean() < 4


def test_contact_sheet_is_a_full_grid() -> None:
    scenes = [Scene("cat", "red", setting, "clear", "still") for setting in SETTINGS[:5]]
    assert contact_sheet(scenes, columns=3).shape == (2 * 96, 3 * 160, 3)
