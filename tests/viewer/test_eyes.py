"""What the probe sees in the block on show, beside the statistics."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from viewer_player import Player
from viewer_stage import DOG

from longlive_env.engine.config import PRESETS
from longlive_env.envs.goals import describe_scene
from longlive_env.tiny.probe import rendered_block
from longlive_env.viewer import eyes
from longlive_env.viewer.eyes import sightings

TINY = PRESETS["tiny"]


def test_it_sees_what_is_shown_and_whether_it_was_asked_for() -> None:
    frames, scene = rendered_block(np.random.default_rng(5), "held_out")
    seen = sightings(frames.numpy(), describe_scene(scene), TINY)
    assert [one.asked for one in seen] == [True] * 5
    assert all(0.5 < one.probability <= 1 for one in seen)
    subject = next(name for name in ("robot", "cat") if name != scene.subject)
    other = sightings(frames.numpy(), f"a {subject}", TINY)
    assert [one.asked for one in other] == [False, None, None, None, None]
    assert [one.words for one in other] == [one.words for one in seen]


def test_a_world_without_a_probe_has_no_sightings() -> None:
    frames = np.zeros((12, 192, 320, 3), np.uint8)
    assert sightings(frames, DOG, replace(TINY, vocabulary="")) == ()
    assert sightings(frames[:, :100], DOG, TINY) == ()  # a size that it cannot read


def test_blocks_on_show_are_read_once_while_the_statistics_are_open(
    start: Callable[..., Player], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(frames: np.ndarray, prompt: str, config: object) -> tuple[eyes.Sighting, ...]:
        read.append(prompt)
        return sightings(frames, prompt, TINY)

    monkeypatch.setattr(eyes, "sightings", counted)
    player = start()
    player.play(1)
    assert not read
    player.press("f3")
    player.play(2)
    assert len(player.app._scene().seen) == 5
    assert len(read) == 3  # with the block on show when the statistics were opened
    player.press("space")
    player.press("backspace")  # at the start of a take there is nothing to see
    player.wait(2)
    assert player.app._scene().seen == () and len(read) == 3


def test_the_block_before_a_jump_is_read_under_its_own_prompt(
    start: Callable[..., Player], story: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = start(story)
    player.play(4)
    assert player.view.span_at(player.app.playback.position).prompt == DOG
    player.press("f3")
    player.press("space")
    player.press("backspace")  # to before the switch
    player.wait(2)
    span = player.view.span_at(player.app.playback.position)
    assert span is not None and span.prompt != DOG
    still = player.app.playback.block
    assert still is not None
    assert player.app._scene().seen == sightings(still, span.prompt, player.view.config)
