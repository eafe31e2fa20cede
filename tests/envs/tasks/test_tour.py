"""TinyTour's rules: stops in order, a subject to keep, costs, endings."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pixels import brightness, grey, shot

from longlive_env.engine.config import PRESETS
from longlive_env.envs import goals
from longlive_env.envs.rewards import ProbeReward
from longlive_env.envs.task import Block, Task, resolve_task
from longlive_env.envs.tasks import TourTask
from longlive_env.errors import ConfigError
from longlive_env.frames import Frames
from longlive_env.tiny.probe import Probe
from longlive_env.tiny.scene import ATTRIBUTES, Scene

RNG = np.random.default_rng


def halves(frames: Frames, texts: Any) -> list[float]:
    """Texts with a setting score by the left half of a picture, subjects alone by the right one."""
    half = frames.shape[3] // 2
    return [
        float((block[:, :, :half] if "setting" in goals.parse(text) else block[:, :, half:]).mean() / 255)
        for block, text in zip(frames, texts, strict=True)
    ]


def block(stop: float, subject: float, *, switched: bool = False) -> Block:
    frames = grey(stop).frames.copy()
    frames[:, :, 3:] = round(255 * subject)
    return Block(frames, "?", asked=switched, switched=switched)


def test_routes() -> None:
    task = TourTask(stops=4)
    for seed in range(20):
        opening = task.open(RNG(seed), None, {})
        assert opening == task.open(RNG(seed), None, {}) and opening.prompt is not None
        start, stops = goals.parse(opening.prompt), [goals.parse(stop) for stop in opening.state["route"]]
        places = [stop["setting"] for stop in stops]
        assert len(set(places)) == 4 and start["setting"] not in places
        assert all((stop["subject"], stop["colour"]) == (start["subject"], start["colour"]) for stop in stops)


def test_a_tour_read_from_pixels() -> None:
    task = TourTask(stops=2)
    opening = task.open(RNG(2), None, {})
    assert opening.prompt is not None
    start = Scene(**goals.parse(opening.prompt))
    state, infos, rewards = opening.state, [], []
    places = [start.setting, *(goals.parse(stop)["setting"] for stop in opening.state["route"])]
    for place in (places[0], places[2], places[1], places[1], places[2]):
        frames = shot(Scene(**{**goals.values_of(start, tuple(ATTRIBUTES)), "setting": place}))
        (verdict,) = task.judge([state], [Block(frames, "?")])
        assert json.loads(json.dumps(verdict.state)) == verdict.state
        state = verdict.state
        infos.append(verdict.info)
        rewards.append(verdict.reward)
    assert [info["visited"] for info in infos] == [0, 0, 1, 1, 2], "the second stop does not count first"
    assert [info["success"] for info in infos] == [False] * 4 + [True] and verdict.terminated
    assert [goals.parse(info["goal"])["setting"] for info in infos] == [*places[1:2] * 2, *places[2:] * 3]
    assert rewards == pytest.approx([0, 0, 4 / 3, 0, 4 / 3], abs=0.1)
    assert all(info["subject_score"] > 0.9 for info in infos)


def test_a_lost_subject_ends_the_tour() -> None:
    task = TourTask(patience=2, reward_fn=halves)
    state, ended = task.open(RNG(0), None, {}).state, []
    for subject in (0.9, 0.1, 0.9, 0.1, 0.1):
        (verdict,) = task.judge([state], [block(0.3, subject)])
        state = verdict.state
        ended.append(verdict.terminated)
    assert ended == [False, False, False, False, True] and verdict.info["success"] is False


@pytest.mark.parametrize(
    ("reward", "expected"),
    [("shaped", [0.2, 1 + 0.5 - 0.05, -0.5, 0.4, 1 + 0.1]), ("sparse", [0, -0.05, 0, 0, 1])],
)
def test_rewards(reward: Any, expected: list[float]) -> None:
    task = TourTask(stops=2, reward=reward, reward_fn=halves, threshold=0.9)
    (verdict,) = task.judge([task.open(RNG(0), None, {}).state], [block(0.3, 1)])
    rewards = []
    for new in (block(0.5, 1), block(1, 1, switched=True), block(0.5, 1), block(0.9 - 0.01, 1), block(1, 1)):
        (verdict,) = task.judge([verdict.state], [new])
        rewards.append(verdict.reward)
    assert rewards == pytest.approx(expected, abs=0.02)


def places(frames: Frames, texts: Any) -> list[float]:
    """Red shows the city, green the moon, blue the subject."""
    named = [goals.parse(text).get("setting") for text in texts]
    channels = [{"city": 0, "moon": 1}.get(place or "", 2) for place in named]
    return [float(one[..., channel].mean() / 255) for one, channel in zip(frames, channels, strict=True)]


def seen(city: float, moon: float, *, switched: bool = False) -> Block:
    """A block in which both settings are to be seen so well."""
    frames = np.empty((12, 4, 6, 3), np.uint8)
    frames[:] = [round(255 * city), round(255 * moon), 255]
    return Block(frames, "?", asked=switched, switched=switched)


def test_whoever_switches_in_the_block_after_an_arrival_is_paid_no_less() -> None:
    task = TourTask(reward_fn=places)
    opening = task.open(RNG(0), None, {"route": ["city", "moon"]})
    at_once = [seen(1, 0.2), seen(0.6, 0.6, switched=True), seen(0, 1)]
    waiting = [seen(1, 0.2), seen(1, 0.2), *at_once[1:]]
    returns = []
    for blocks in (at_once, waiting):
        (verdict,) = task.judge([opening.state], [seen(0.4, 0)])
        rewards, shown = [], []
        for new in blocks:
            (verdict,) = task.judge([verdict.state], [new])
            rewards.append(verdict.reward)
            shown.append((goals.parse(verdict.info["goal"])["setting"], round(verdict.info["score"], 1)))
        assert verdict.info["success"] and verdict.terminated
        assert shown[0] == ("moon", 0.2) and shown[-2:] == [("moon", 0.6), ("moon", 1.0)]
        assert rewards[-2:] == pytest.approx([0.4 - 0.05, 1 + 0.4], abs=0.01)
        returns.append(sum(rewards))
    assert returns == pytest.approx([1 + 0.6 + 0.4 - 0.05 + 1 + 0.4] * 2, abs=0.01)


@pytest.mark.parametrize(("reward", "expected"), [("shaped", [1, 1 + 0.8]), ("sparse", [0, 1])])
@pytest.mark.parametrize("stops", [("city", "moon"), ("city",)])
def test_a_stop_that_the_first_block_shows_is_paid_by_the_next(
    stops: tuple[str, ...], reward: Any, expected: list[float]
) -> None:
    task = TourTask(reward=reward, reward_fn=places)
    opening = task.open(RNG(0), "a red cat in the city", {"route": stops})
    (verdict,) = task.judge([opening.state], [seen(1, 0)])
    assert verdict.info["visited"] == 0 and not verdict.info["success"] and not verdict.terminated
    assert goals.parse(verdict.info["goal"])["setting"] == "city" and verdict.info["score"] == 1
    rewards = []
    for new in [seen(1, 0.2), seen(0, 1)][: len(stops)]:
        (verdict,) = task.judge([verdict.state], [new])
        rewards.append(verdict.reward)
    assert verdict.terminated and verdict.info["success"]
    assert rewards == pytest.approx(expected if len(stops) == 2 else [1], abs=0.01)


def test_worlds_are_judged_apart() -> None:
    task = TourTask(reward_fn=halves)
    states = [task.open(RNG(seed), None, {}).state for seed in range(3)]
    blocks = [block(0.2, 0.9), block(1, 0.2), block(0.6, 0.4)]
    together = task.judge(states, blocks)
    assert together == [task.judge([state], [new])[0] for state, new in zip(states, blocks, strict=True)]
    together = task.judge([verdict.state for verdict in together], blocks)
    assert [verdict.info["visited"] for verdict in together] == [0, 1, 0]


def test_blocks_are_read_once_for_all_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, read = list[int](), Probe.probabilities

    def counted(probe: Probe, frames: torch.Tensor) -> dict[str, torch.Tensor]:
        counts.append(len(frames))
        return read(probe, frames)

    task, frames = TourTask(), shot(Scene("robot", "red", "city", "night", "still"))
    states = [task.open(RNG(seed), None, {}).state for seed in range(2)]
    blocks = [Block(frames, "?"), Block(frames[::-1].copy(), "?")]
    apart = TourTask(reward_fn=lambda frames, texts: ProbeReward()(frames, texts)).judge(states, blocks)
    monkeypatch.setattr(Probe, "probabilities", counted)
    together = task.judge(states, blocks)
    assert counts == [2]
    for verdict, alone in zip(together, apart, strict=True):
        seen = dict(verdict.info)
        assert goals.parse(seen.pop("seen"))["setting"] == "city"  # only the probe says what it sees
        assert replace(verdict, info=seen) == alone


def test_routes_and_subjects_of_one_s_own() -> None:
    opening = TourTask().open(RNG(0), "a pink snail waits on the moon", {"route": ["city", "moon"]})
    assert opening.prompt == "a pink snail waits on the moon"
    assert opening.state["route"] == ["a pink snail in the city", "a pink snail on the moon"]
    whole = TourTask().open(RNG(0), None, {"route": ATTRIBUTES["setting"]})
    assert whole.prompt is not None and goals.parse(whole.prompt)["setting"] != "city"
    for seed in range(10):
        drawn = TourTask(stops=7).open(RNG(seed), "a pink snail waits on the moon", {})
        assert "a pink snail on the moon" not in drawn.state["route"]


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        (None, {"route": "city"}, "the route is 'city'; expected a list"),
        (None, {"route": ["attic"]}, r"the route is \['attic'\]; expected one or more of city"),
        (None, {"route": []}, r"the route is \[\]"),
        (None, {"route": 3}, "the route is 3"),
        ("it rains on the moon", {}, "the prompt .* names no subject to keep"),
        ("nothing much", {}, "the prompt 'nothing much' names nothing"),
        ("a red cat or a car", {}, "the prompt 'a red cat or a car' names two values of subject"),
    ],
)
def test_impossible_openings(prompt: str | None, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TourTask().open(RNG(1), prompt, options)


def test_it_is_found_by_name() -> None:
    task = resolve_task({"name": "tour", "stops": 2}, PRESETS["tiny"])
    assert task == TourTask(stops=2) and isinstance(task, Task) and task.disturb({}) is None
    with pytest.raises(ConfigError, match="draws scenes of the vocabulary"):
        resolve_task(TourTask(reward_fn=brightness), PRESETS["1.3b"])


@pytest.mark.parametrize("name", ["stops", "patience"])
@pytest.mark.parametrize("value", [0, "3", 2.5, True, None])
def test_impossible_fields(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} is {value!r}; expected a whole number"):
        TourTask(**{name: value})
    with pytest.raises(ConfigError, match="stops is 8; expected a whole number from 1 to 7"):
        TourTask(stops=8)
